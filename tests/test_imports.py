"""What imports what: no circles, arrows that point down only, and a command line that starts at once.

Imports are read from the source, so that those inside functions, under `TYPE_CHECKING` and in tables of names
("hclf.scorers.linear:LinearScorer") count like any other.
"""

from __future__ import annotations

import ast
import re
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import networkx as nx
import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "hclf"
# Each module imports its own layer and those above it in this list. The facade `hclf` is a layer too: the library
# itself must not lean on it.
LAYERS = (
    ("_version", "errors", "wording"),
    ("isotonic", "taxonomy"),
    ("formats", "registry", "rules", "labels", "data", "inputs"),
    ("scorers", "metrics"),
    ("fusion", "calibration", "thresholds", "safe_depth", "guarantees", "decoders"),
    ("statistics", "evaluation", "diagnostics", "evidence", "migrate", "audit"),
    ("bundle", "operating", "report", "mentions", "folds", "model"),
    ("fitting", "ranking", "answers", "persistence"),
    ("classifier",),
    ("hclf",),
    ("cli", "service", "batch"),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
WITHOUT_SKLEARN = ("taxonomy", "labels", "data", "formats", "decoders", "metrics", "thresholds")
MAY_USE_TORCH = ("hclf.scorers.neural", "hclf.scorers.prompt")
BUDGET = 0.4  # seconds
HEAVY = ("numpy", "scipy", "sklearn", "torch", "networkx", "pandas", "rdflib")
TABLE_ENTRY = re.compile(r"(hclf(?:\.\w+)*)(?::\w+)?")

# Runs code and tells who asked for a heavy module first.
PROBE = """
import sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in HEAVY:
            HEAVY.discard(name)
            frame, chain = sys._getframe(1), [name]
            while frame:
                module = frame.f_globals.get("__name__", "")
                if "importlib" not in module and module != chain[-1]:
                    chain.append(module)
                frame = frame.f_back
            print("LOADED", " → ".join(reversed(chain)), file=sys.stderr)

sys.meta_path.insert(0, Watch())
"""


# -- the graph -------------------------------------------------------------------------------------------------


def module_sources(package: Path) -> dict[str, str]:
    """Return module name -> source of everything in a package."""
    sources = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file.read_text("utf-8")
    return sources


def import_graph(sources: dict[str, str]) -> nx.DiGraph[str]:
    """Return the graph of who imports whom; modules from elsewhere appear by their top-level name."""
    packages = {name for name in sources if any(other.startswith(f"{name}.") for other in sources)}
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(sources)
    for module, source in sources.items():
        for target, line in _imports(ast.parse(source), module, module in packages):
            for found in _loaded(target, module, sources):
                graph.add_edge(module, found, line=line)
    return graph


def _imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[str, int]]:
    """Yield (dotted name, line) of what a module imports anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
    if any(isinstance(node, ast.alias) and node.name in ("importlib", "import_module") for node in ast.walk(tree)):
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found = TABLE_ENTRY.fullmatch(node.value)
                if found:
                    yield found[1], node.lineno


def _loaded(target: str, module: str, sources: dict[str, str]) -> Iterator[str]:
    """Yield the modules an import loads: its target, and packages around it that `module` is not in itself."""
    parts = target.split(".")
    names = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    known = [name for name in names if name in sources]
    if not known:
        yield parts[0]
        return
    yield known[0]
    yield from (name for name in known[1:] if not f"{module}.".startswith(f"{name}.") and name != "hclf")


def chain(graph: nx.DiGraph[str], path: list[str]) -> str:
    """Return a path with the line of each import."""
    steps = [f"{a} (line {graph.edges[a, b]['line']})" for a, b in pairwise(path)]
    return " → ".join([*steps, path[-1]])


def circles(graph: nx.DiGraph[str]) -> list[str]:
    """Return one circle of each knot of modules that import each other, and modules that import themselves."""
    knots = [graph.subgraph(knot) for knot in nx.strongly_connected_components(graph)]
    found = [list(nx.find_cycle(knot)) for knot in knots if len(knot) > 1 or nx.number_of_selfloops(knot)]
    return [chain(graph, [edge[0] for edge in circle] + [circle[0][0]]) for circle in found]


def upward(graph: nx.DiGraph[str]) -> list[str]:
    """Return the imports of a higher layer by a lower one."""
    edges = [(a, b) for a, b in graph.edges if _is_ours(a) and _is_ours(b)]
    return [chain(graph, [a, b]) for a, b in edges if RANK[_top(a)] < RANK[_top(b)]]


def ways(graph: nx.DiGraph[str], sources: Iterable[str], targets: Iterable[str]) -> list[str]:
    """Return for each source one shortest way to any of the targets."""
    reached = {target for target in targets if target in graph}
    found = []
    for source in sources:
        paths = [nx.shortest_path(graph, source, target) for target in reached if nx.has_path(graph, source, target)]
        if paths:
            found.append(chain(graph, min(paths, key=len)))
    return found


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "hclf"


def _top(module: str) -> str:
    """Return the name a module's layer goes by: `data` for hclf.data.check, `hclf` for the facade."""
    return module.split(".")[1] if "." in module else module


@pytest.fixture(scope="module")
def graph() -> nx.DiGraph[str]:
    return import_graph(module_sources(PACKAGE))


def _within(graph: nx.DiGraph[str], *names: str) -> list[str]:
    return sorted(module for module in graph if _is_ours(module) and _top(module) in names)


def _tell(lines: Iterable[str]) -> str:
    return "\n  ".join(["", *lines])


# -- the library -----------------------------------------------------------------------------------------------


def test_every_module_has_a_layer(graph):
    unplaced = [module for module in graph if _is_ours(module) and _top(module) not in RANK]
    assert not unplaced, f"give these a layer in LAYERS: {unplaced}"


def test_no_import_circles(graph):
    found = circles(graph)
    assert not found, _tell(found)


def test_arrows_point_down(graph):
    found = upward(graph)
    assert not found, _tell(found)


def test_a_scorer_never_imports_a_decoder_and_a_decoder_never_sees_a_model(graph):
    found = ways(graph, _within(graph, "scorers"), _within(graph, "decoders", "thresholds"))
    found += ways(graph, _within(graph, "decoders"), _within(graph, "scorers", "bundle", "classifier"))
    assert not found, _tell(found)


def test_nothing_imports_the_command_line(graph):
    outside = [m for m in graph if _is_ours(m) and _top(m) not in ("cli", "__main__")]
    found = ways(graph, outside, _within(graph, "cli"))
    assert not found, _tell(found)


def test_sklearn_stays_where_it_is_needed(graph):
    found = ways(graph, _within(graph, *WITHOUT_SKLEARN), ["sklearn"])
    assert not found, _tell(found)


def test_torch_stays_under_two_scorers(graph):
    users = graph.predecessors("torch") if "torch" in graph else []
    found = [module for module in users if not f"{module}.".startswith(tuple(f"{m}." for m in MAY_USE_TORCH))]
    assert not found, f"torch is imported by {found}"


# -- the checks themselves -------------------------------------------------------------------------------------

CLEAN = {
    "hclf": "",
    "hclf.errors": "",
    "hclf.taxonomy": "from hclf.errors import Fault",
    "hclf.scorers": "",
    "hclf.decoders": "",
}


@pytest.mark.parametrize(
    "source",
    [
        "import hclf.taxonomy",
        "from hclf.taxonomy import Node",
        "from hclf import taxonomy",
        "from .taxonomy import Node",
        "def f():\n    from hclf.taxonomy import Node",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hclf.taxonomy import Node",
        "from importlib import import_module\nTABLE = {'x': 'hclf.taxonomy:Node'}",
    ],
)
def test_circles_and_upward_imports_are_seen_wherever_they_hide(source):
    graph = import_graph(CLEAN | {"hclf.errors": source})
    line = source.count("\n") + 1
    assert circles(graph) in (
        [f"hclf.errors (line {line}) → hclf.taxonomy (line 1) → hclf.errors"],
        [f"hclf.taxonomy (line 1) → hclf.errors (line {line}) → hclf.taxonomy"],
    )
    assert upward(graph) == [f"hclf.errors (line {line}) → hclf.taxonomy"]


def test_a_way_to_a_library_is_told_step_by_step():
    graph = import_graph(CLEAN | {"hclf.taxonomy": "import hclf.errors", "hclf.errors": "x = 1\nimport sklearn.svm"})
    assert circles(graph) == upward(graph) == []
    assert ways(graph, ["hclf.taxonomy"], ["sklearn"]) == ["hclf.taxonomy (line 1) → hclf.errors (line 2) → sklearn"]


def test_a_package_around_the_target_counts():
    graph = import_graph(
        CLEAN
        | {
            "hclf.scorers": "import hclf.decoders",
            "hclf.scorers.base": "",
            "hclf.decoders": "import hclf.scorers.base",
        }
    )
    assert len(circles(graph)) == 1


def test_the_facade_is_not_for_the_library():
    graph = import_graph(CLEAN | {"hclf.taxonomy": "from hclf import Node"})
    assert upward(graph) == ["hclf.taxonomy (line 1) → hclf"]


# -- starting --------------------------------------------------------------------------------------------------


def _probe(code: str) -> list[str]:
    """Return who loaded what heavy modules while the code ran, in a fresh interpreter."""
    script = f"HEAVY = set({HEAVY})\n{PROBE}\n{code}\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("LOADED")]


def test_the_probe_sees_heavy_modules():
    assert _probe("import networkx")[0] == "LOADED __main__ → networkx"


def test_import_hclf_loads_nothing_heavy():
    found = _probe("import hclf; hclf.__version__, dir(hclf)")
    assert not found, _tell(found)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["train", "--help"], ["taxonomy", "--help"], ["data", "--help"]]
)
def test_help_loads_nothing_heavy(arguments):
    found = _probe(
        f"from hclf.cli import main\ntry:\n    main({arguments})\nexcept SystemExit as e:\n    assert not e.code"
    )
    assert not found, _tell(found)


def _processor_time_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    "command",
    [[str(Path(sys.executable).with_name("hclf")), "--help"], [sys.executable, "-c", "import hclf"]],
    ids=["hclf --help", "import hclf"],
)
def test_it_starts_at_once(command):
    best = float("inf")
    for _ in range(5):  # of the processor, the best of five: a busy machine says nothing about us
        began = _processor_time_of_children()
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        best = min(best, _processor_time_of_children() - began)
    assert best < BUDGET, f"{best:.2f} s, more than {BUDGET} s; `python -X importtime` shows where it goes"
