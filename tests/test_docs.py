"""The documentation runs: its code, its commands, its links, the examples in docstrings and help texts.

In README.md and docs/*.md, in the order of each file and in a folder with copies of `examples/` and `taxonomy/`:

    ```python    executed; the blocks of a file share their names. With `>>>` lines: compared with what they show.
    ```console   lines after `$ ` go through the shell and must exit with 0, or with N if they end in `# exits N`
    ```sh        likewise, every line; lines that set up a checkout (make, git, pip, cd) are left out
    ```yaml      a taxonomy (`hclf: 1`) must be free of faults

Before a block, `<!-- skip: reason -->` leaves it out; `<!-- file: NAME -->` writes it to a file for later blocks.
"""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from make_docs import PAGE, commands, examples, page

import hclf

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELL = ("console", "bash", "sh", "shell")
NOT_RUN = ("make", "git", "pip", "cd", "python -m pip", "python -m venv", "python benchmarks/")
FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,}) *(?P<language>\w*)")
DIRECTIVE = re.compile(r"<!-- *(?P<verb>skip|file): *(?P<value>.*?) *-->")
EXITS = re.compile(r"# exits (\d+)\s*$")
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
INLINE = re.compile(r"(?<!`)`(hclf [^`]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: what is in it, where it begins, and what the comment before it says."""

    language: str
    text: str
    line: int
    verb: str = ""
    value: str = ""


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    lines = text.splitlines()
    opened: tuple[int, re.Match[str]] | None = None
    for i, line in enumerate(lines):
        fence = FENCE.match(line)
        if opened is None:
            opened = (i, fence) if fence else None
        elif fence and fence["ticks"] >= opened[1]["ticks"] and not line.strip(" `"):
            start, fence = opened
            inside = [inner.removeprefix(fence["indent"]) for inner in lines[start + 1 : i]]
            before = [above for above in lines[:start] if above.strip()][-1:]
            said = DIRECTIVE.fullmatch(before[0].strip()) if before else None
            verb, value = (said["verb"], said["value"]) if said else ("", "")
            yield Block(fence["language"], "\n".join(inside) + "\n", start + 2, verb, value)
            opened = None
    assert opened is None, f"line {opened[0] + 1}: a block that is never closed"


def shell_commands(block: Block) -> Iterator[tuple[int, str]]:
    """Yield (line, command); lines that end in a backslash and here-documents are taken together."""
    lines = iter(enumerate(block.text.splitlines(), block.line))
    for number, line in lines:
        if block.language == "console" and not line.startswith("$ "):
            continue  # what the command before printed
        command = line.removeprefix("$ ")
        while command.endswith("\\"):
            command = f"{command}\n{next(lines)[1].removeprefix('> ')}"
        if end := re.search(r"<<-?\s*'?(\w+)'?", command):
            while command.rsplit("\n", 1)[-1].strip() != end[1]:
                command = f"{command}\n{next(lines)[1].removeprefix('> ')}"
        if command.strip() and not command.lstrip().startswith("#"):
            yield number, command


class Runner:
    """Runs the blocks of one page, one after the other."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.files: dict[str, str] = {}

    def run(self, block: Block) -> None:
        """Run one block as its language and the comment before it ask for."""
        if block.verb == "skip":
            assert block.value, f"{self.name}:{block.line}: say why the block is skipped"
            print(f"{self.name}:{block.line}: skipped: {block.value}")
        elif block.verb == "file":
            (self.folder / block.value).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            self._run_python(block)
        elif block.language in SHELL:
            for line, command in shell_commands(block):
                if not command.startswith(NOT_RUN):
                    self._run_command(line, command)
        elif block.language == "yaml" and re.search(r"^hclf: *1\b", block.text, re.MULTILINE):
            self._check_yaml(block)
        elif faulty := next((name for name in self.files if block.text.startswith(f"{name}:")), None):
            assert block.text == self.files.pop(faulty), f"{self.name}:{block.line}: {faulty} has other faults"

    def finish(self) -> None:
        """Complain about faulty taxonomies that the page does not present as such."""
        assert not self.files, f"{self.name}: taxonomies with faults: {self.files}"

    def _run_python(self, block: Block) -> None:
        if block.text.lstrip().startswith(">>>"):
            parsed = doctest.DocTestParser().get_doctest(
                block.text, self.names, f"{self.name}:{block.line}", self.name, block.line - 1
            )
            parsed.globs = self.names  # get_doctest copies; later blocks go on with these names
            said: list[str] = []
            results = doctest.DocTestRunner().run(parsed, out=said.append, clear_globs=False)
            assert not results.failed, "".join(said)
        else:  # blank lines before it, so that a traceback shows the line of the page
            exec(compile("\n" * (block.line - 1) + block.text, self.name, "exec"), self.names)

    def _run_command(self, line: int, command: str) -> None:
        wanted = int(found[1]) if (found := EXITS.search(command)) else 0
        done = run_shell(command, self.folder)
        assert done.returncode == wanted, f"{self.name}:{line}: exit {done.returncode}: {command}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{self.name}:{line}: {command}\n{done.stderr}"

    def _check_yaml(self, block: Block) -> None:
        from hclf.formats import yaml

        first = block.text.partition("\n")[0]
        name = first.removeprefix("# ") if first.startswith("# ") else f"line {block.line}"
        _, faults = yaml.check_text(block.text, name)
        if faults:  # they should be what the page shows next
            self.files[name] = "".join(f"{fault}\n" for fault in faults)


def run_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with this environment's programs first, as if hclf were installed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder that commands are run in: copies, so that nothing is ever written into the repository."""
    for name in ("examples", "taxonomy"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    environment = dict(os.environ)
    yield tmp_path
    os.environ.clear()  # of what a page has set
    os.environ.update(environment)


def _marked(file: Path) -> Any:
    slow = re.search(r"hclf (train|tune|demo)\b|\.fit\(", "".join(b.text for b in blocks(file.read_text("utf-8"))))
    return pytest.param(file, id=file.name, marks=[pytest.mark.slow] if slow and file != PAGE else [])


@pytest.mark.parametrize("file", [_marked(file) for file in PAGES])
def test_a_page_runs(file, folder):
    runner = Runner(str(file.relative_to(ROOT)), folder)
    for block in blocks(file.read_text("utf-8")):
        runner.run(block)
    runner.finish()


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_links_lead_somewhere(file):
    targets = [link["target"] for link in LINK.finditer(re.sub(r"`[^`]*`", "", file.read_text("utf-8")))]
    broken = []
    for target in targets:
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        there = (file.parent / path).resolve() if path else file
        if not there.exists() or (anchor and anchor not in _anchors(there)):
            broken.append(target)
    assert not broken


def _anchors(file: Path) -> set[str]:
    """Return what GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ +(.+)$", file.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_commands_named_in_the_text_exist(file):
    known = commands()
    for text in INLINE.findall(re.sub(r"^```.*?^```", "", file.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)):
        words = shlex.split(text)
        path = max((" ".join(words[:n]) for n in (1, 2, 3) if " ".join(words[:n]) in known), key=len)
        inner = words[len(path.split())] if len(words) > len(path.split()) else ""
        is_group = hasattr(known[path], "commands")
        assert not (is_group and inner.isalpha() and inner.islower()), f"{text}: {path} has no command {inner!r}"
        options = {option for p in known[path].params for option in [*p.opts, *p.secondary_opts]} | {"--help"}
        unknown = [word for word in words if re.match(r"--?\w", word) and word.partition("=")[0] not in options]
        assert not unknown, f"{text}: {path} has no {unknown}"


# -- the reference of commands ---------------------------------------------------------------------------------


def test_the_reference_of_commands_is_what_the_program_says():
    assert PAGE.read_text("utf-8") == page(), "docs/cli.md is not up to date: run `make docs`"


@pytest.mark.parametrize("path", commands())
def test_every_command_is_in_the_reference(path):
    assert re.search(rf"^##+ {path}$", PAGE.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", [path for path in commands() if path != "hclf"])
def test_every_command_says_what_it_and_its_parameters_are_for(path):
    command = commands()[path]
    assert command.help
    silent = [p.name for p in command.params if p.name != "help" and not p.help]
    assert not silent


def test_the_reference_does_not_depend_on_the_terminal():
    code = "import sys; sys.path.insert(0, 'tests'); from make_docs import page; sys.stdout.write(page())"
    seen = set()
    for terminal in (
        {"COLUMNS": "40", "TERM": "dumb"},
        {"COLUMNS": "300", "FORCE_COLOR": "1", "PYTHONHASHSEED": "7"},
    ):
        environment = {**os.environ, **terminal, "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True
        )
        seen.add(done.stdout.decode())
    assert seen == {page()}
    assert "\x1b" not in page()


@pytest.mark.slow
def test_the_examples_of_all_help_texts_run_in_a_row(folder):
    for path, command in commands().items():
        for example in examples(command):
            done = run_shell(example, folder)
            assert done.returncode == 0, f"{path}: {example}\n{done.stderr}"


# -- docstrings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [m.name for m in pkgutil.walk_packages(hclf.__path__, "hclf.")])
def test_examples_in_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(importlib.import_module(name))
    assert not results.failed


# -- the runner itself -----------------------------------------------------------------------------------------


def _run(text: str, folder: Path) -> None:
    runner = Runner("page.md", folder)
    for block in blocks(text):
        runner.run(block)
    runner.finish()


def test_blocks_share_names_and_files_in_order(folder):
    _run(
        """
```python
x = 41
```

1. In a list:
   ```python
   >>> x += 1
   >>> x
   42
   ```

<!-- file: words.txt -->
```text
one
two
```

```console
$ make nothing
$ hclf --version | \\
> grep hclf
hclf 9.9.9
$ hclf taxonomy nonsense   # exits 2
$ cat > more.txt <<EOF
> three
> EOF
$ cat words.txt more.txt > all.txt
```

```python
from pathlib import Path
assert Path("all.txt").read_text().split() == ["one", "two", "three"] and x == 42
```

<!-- skip: it could not work -->
```python
1 / 0
```
""",
        folder,
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```python\n1 / 0\n```", "division"),
        ("```python\n>>> 1 + 1\n3\n```", "Expected:"),
        ("```console\n$ hclf taxonomy nonsense\n```", "page.md:2: exit 2"),
        ("```console\n$ hclf --version  # exits 1\n```", "page.md:2: exit 0"),
        ("```sh\nfalse | true\n```", "page.md:2: exit 1"),
        ("```yaml\nhclf: 1\nnodes: [a, a]\n```", "duplicate id"),
        ("```yaml\n# x.yaml\nhclf: 1\nnodes: [a, a]\n```\n```text\nx.yaml: fine\n```", "other faults"),
        ("<!-- skip: -->\n```python\n1 / 0\n```", "say why"),
        ("```python\nx = 1\n", "never closed"),
    ],
)
def test_what_does_not_run_is_told(text, says, folder):
    with pytest.raises(Exception, match=re.escape(says)):
        _run(text, folder)
