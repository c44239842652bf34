"""Writes docs/cli.md from the command line itself: `python -m tests.make_docs` (`make docs`).

Nothing here asks rich or a terminal: the page is the same on every machine.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from hclf.cli import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
INTRODUCTION = """\
# The command line

<!-- Written by `make docs` from the program's own help texts: change those, not this page. -->

Results go to standard output; what is said to a person goes to standard error. Where a file of records or predictions
is asked for, `-` is standard input or output, and a name that ends in `.gz` means gzip. Nothing that exists is
overwritten without `-f`.

The exit status is 0 when all went well, 1 after a failure, 2 when the call itself was wrong, and 130 when it was
interrupted. Errors take one line each. `HCLF_DEBUG=1` shows where in the code an internal error happened.
"""
EXAMPLE = "Example: "


def page() -> str:
    """Return the whole page."""
    sections = [_section(path, command) for path, command in commands().items()]
    return "\n".join([INTRODUCTION, *_contents(), "", *sections]).rstrip() + "\n"


def commands() -> dict[str, Any]:
    """Return how it is called -> command, for every command and group, `hclf` itself first."""
    return dict(_walk("hclf", typer.main.get_command(app)))


def parameters(command: Any) -> list[Any]:
    """Return the arguments and options of a command, without hidden ones and `--help`."""
    return [p for p in command.params if p.name != "help" and not getattr(p, "hidden", False)]


def examples(command: Any) -> list[str]:
    """Return the lines to type that a help text gives as examples."""
    return [line.removeprefix(EXAMPLE) for line in _help(command) if line.startswith(EXAMPLE)]


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _walk(f"{path} {name}", inner)


def _help(command: Any) -> list[str]:
    return inspect.cleandoc(command.help or "").splitlines()


def _contents() -> list[str]:
    return [f"- [`{path}`](#{path.replace(' ', '-')}) {_help(c)[0]}" for path, c in commands().items() if " " in path]


def _section(path: str, command: Any) -> str:
    heading = "###" if path.count(" ") > 1 else "##"
    text = "\n".join(line for line in _help(command) if not line.startswith(EXAMPLE)).strip()
    lines = [f"{heading} {path}", "", text, "", "```text", _usage(path, command), "```", ""]
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        entries = [_entry(p) for p in parameters(command) if p.param_type_name == kind]
        lines += [f"{title}:", "", *entries, ""] if entries else []
    if shown := examples(command):
        lines += ["<!-- skip: test_docs runs the examples of all help texts in a row -->", "```sh", *shown, "```", ""]
    return "\n".join(lines)


def _usage(path: str, command: Any) -> str:
    """Return one line with everything that must be given; the rest is "[OPTIONS]"."""
    if hasattr(command, "commands"):
        return f"{path} [OPTIONS] COMMAND …"
    required = [
        f"{max(p.opts, key=len)} {_value(p)}"
        for p in parameters(command)
        if p.param_type_name == "option" and p.required
    ]
    arguments = [p for p in parameters(command) if p.param_type_name == "argument"]
    return " ".join(
        [path, *(_value(p) if p.required else f"[{_value(p)}]" for p in arguments), *required, "[OPTIONS]"]
    )


def _entry(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = f"`{_value(parameter)}`"
    else:
        names = ", ".join(f"`{name}`" for name in sorted([*parameter.opts, *parameter.secondary_opts], key=len))
        names = names if parameter.is_flag else f"{names[:-1]} {_value(parameter)}`"
    told = [parameter.help or "", _range(parameter), _default(parameter)]
    return " ".join([f"- {names}:", *filter(None, told)])


def _value(parameter: Any) -> str:
    return parameter.metavar or max(parameter.opts, key=len).strip("-").upper()


def _range(parameter: Any) -> str:
    low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
    if low is not None and high is not None:
        return f"From {low} to {high}."
    return f"At least {low}." if low is not None else f"At most {high}." if high is not None else ""


def _default(parameter: Any) -> str:
    if parameter.required:
        return "Required." if parameter.param_type_name == "option" else ""
    if parameter.is_flag if parameter.param_type_name == "option" else False:
        both = parameter.secondary_opts and parameter.default is not None
        return f"Default: `{(parameter.opts if parameter.default else parameter.secondary_opts)[0]}`." if both else ""
    return f"Default: `{parameter.default}`." if parameter.default not in (None, "", [], ()) else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
