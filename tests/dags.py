"""Random DAGs for property tests, and slow set-based references to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import networkx as nx
from hypothesis import strategies as st

from hclf.taxonomy import Node, Taxonomy

IDS = st.text(alphabet="abcxyzéß中0123456789-.:", min_size=1, max_size=6)


@dataclass(frozen=True)
class Dag:
    """Nodes in a hidden topological order, and edges as pairs of ids."""

    ids: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]

    @property
    def taxonomy(self) -> Taxonomy:
        return Taxonomy(self.ids, self.edges)

    @property
    def graph(self) -> nx.DiGraph[str]:
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.ids)
        graph.add_edges_from(self.edges)
        return graph

    def above(self, node: str) -> set[str]:
        """The proper ancestors of a node, by networkx."""
        return set(nx.ancestors(self.graph, node))

    def below(self, node: str) -> set[str]:
        """The proper descendants of a node, by networkx."""
        return set(nx.descendants(self.graph, node))


@st.composite
def dags(draw: st.DrawFn, max_nodes: int = 12, max_parents: int = 3, min_nodes: int = 1) -> Dag:
    """A DAG whose ids do not follow its order; sometimes a forest, sometimes with superfluous edges."""
    ids = draw(st.lists(IDS, min_size=min_nodes, max_size=max_nodes, unique=True))
    most = draw(st.integers(0, max_parents))
    edges: list[tuple[str, str]] = []
    for child in range(1, len(ids)):
        parents = draw(st.sets(st.integers(0, child - 1), max_size=min(most, child)))
        edges += [(ids[parent], ids[child]) for parent in sorted(parents)]
    return Dag(tuple(ids), tuple(edges))


@st.composite
def dags_with_labels(draw: st.DrawFn, rows: int = 4) -> tuple[Dag, list[list[str]]]:
    """A DAG and some label sets, not closed, some empty."""
    dag = draw(dags())
    labels = st.lists(st.sampled_from(dag.ids), max_size=4, unique=True)
    return dag, draw(st.lists(labels, min_size=1, max_size=rows))


@st.composite
def rich_taxonomies(draw: st.DrawFn) -> Taxonomy:
    """A taxonomy whose nodes say everything a node can say, in texts that are awkward to write down."""
    dag = draw(dags(max_nodes=6))
    words = st.text(alphabet="aB é\"'#:,;&=[]{}>*!%@中\\/-.0", min_size=1, max_size=8)
    word = words.map(lambda text: " ".join(text.split())).filter(lambda text: text and " > " not in text)
    languages = st.sampled_from(["", "en", "fr", "zh"])
    nodes = [draw(_node(node, word, languages)) for node in dag.ids]
    header: dict[str, Any] = {"id": "random", "version": draw(st.sampled_from(["", "1.10"]))}
    return Taxonomy(nodes, dag.edges, level_names=draw(st.lists(word, max_size=2)), **header)


@st.composite
def _node(draw: st.DrawFn, node: str, word: Any, languages: Any) -> Node:
    names = draw(st.dictionaries(languages, word, max_size=2))
    texts = draw(st.dictionaries(languages, st.lists(word, min_size=1, max_size=3, unique=True), max_size=2))
    # Readers leave out a synonym that only repeats the name.
    synonyms = {k: kept for k, v in texts.items() if (kept := tuple(t for t in v if t != names.get(k)))}
    dates = st.none() | st.dates()
    return Node(
        node,
        names,
        synonyms,
        draw(st.just("") | word),
        draw(st.booleans()),
        draw(dates),
        draw(dates),
        draw(st.dictionaries(st.sampled_from(["note", "wikidata"]), word, max_size=1)),
    )
