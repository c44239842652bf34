"""Metrics against independent implementations.

scikit-learn's; HiClass's on single paths; networkx's distances and ancestors in trees; a linear programme for the
pairing of MGIA; and, where it is installed, `cafaeval`, the evaluator of the CAFA challenge.
"""

from __future__ import annotations

import warnings

import networkx as nx
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_matrix

from hclf.labels import label_matrix
from hclf.metrics import curves, graph, ranking, sets
from hclf.taxonomy import Taxonomy

sk = pytest.importorskip("sklearn.metrics")
SEEDS = range(20)
EXACT = 1e-12


def labels(rng, shape=(40, 12), density=0.3):
    return rng.random(shape) < density


def scores(rng, shape=(40, 12), distinct=6, dtype=np.float64):
    """Scores with many ties, about a sixth of them 0.0."""
    return (rng.integers(0, distinct, shape) / max(distinct - 1, 1)).astype(dtype)


@pytest.fixture(params=SEEDS)
def rng(request):
    return np.random.default_rng(request.param)


@pytest.mark.parametrize("distinct", [1, 2, 6, 10**9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_average_precision_micro_equals_scikit_learn_with_ties(rng, distinct, dtype):
    T, S = labels(rng), scores(rng, distinct=distinct, dtype=dtype)
    want = sk.average_precision_score(T.astype(int), S, average="micro")
    for given in (S, csr_matrix(S)):
        assert ranking.average_precision_micro(T, given) == pytest.approx(want, abs=EXACT)


@pytest.mark.parametrize("distinct", [2, 6, 10**9])
def test_average_precision_of_nodes_equals_scikit_learn(rng, distinct):
    T, S = labels(rng), scores(rng, distinct=distinct)
    T[0] = True  # scikit-learn warns of columns without positives
    each = sk.average_precision_score(T.astype(int), S, average=None)
    assert ranking.average_precision_per_node(T, S) == pytest.approx(each, abs=EXACT)
    assert ranking.average_precision_macro(T, csr_matrix(S)) == pytest.approx(each.mean(), abs=EXACT)


def test_macro_over_present_nodes_ignores_absent_ones(rng):
    T, S = labels(rng), scores(rng)
    T[:, :3] = False
    T[0, 3:] = True
    want = sk.average_precision_score(T[:, 3:].astype(int), S[:, 3:], average="macro")
    assert ranking.average_precision_macro(T, S) == pytest.approx(want, abs=EXACT)


def test_map_equals_scikit_learn_when_nothing_is_tied_or_unscored(rng):
    T, S = labels(rng), rng.random((40, 12)) + 0.01
    T[:, 0] = True  # no document without truth
    want = sk.average_precision_score(T.astype(int), S, average="samples")
    assert ranking.mean_average_precision(T, S) == pytest.approx(want, abs=EXACT)
    assert ranking.mean_average_precision(T, S) == pytest.approx(
        sk.label_ranking_average_precision_score(T, S), abs=EXACT
    )


def test_recall_at_one_below_coverage_is_not_complete(rng):
    """Coverage is how far down the lists one has to go, on average, to find every true label."""
    T, S = labels(rng), rng.random((40, 12)) + 0.01
    T[:, 0] = True
    for i in range(len(T)):
        depth = round(sk.coverage_error(T[i : i + 1], S[i : i + 1]))
        assert ranking.recall_at_k(T[i : i + 1], S[i : i + 1], depth) == 1.0
        assert depth == 1 or ranking.recall_at_k(T[i : i + 1], S[i : i + 1], depth - 1) < 1.0


def test_hits_at_k_equal_scikit_learn_on_single_labels(rng):
    T = np.eye(12, dtype=bool)[rng.integers(0, 12, 40)]
    S = rng.random((40, 12)) + 0.01
    for k in (1, 3, 5):
        want = sk.top_k_accuracy_score(T.argmax(1), S, k=k, labels=np.arange(12))
        assert ranking.recall_at_k(T, S, k) == pytest.approx(want, abs=EXACT)
        assert ranking.precision_at_k(T, S, k) == pytest.approx(want / k, abs=EXACT)


def test_set_metrics_equal_scikit_learn(rng):
    T, P = labels(rng, density=0.2), labels(rng, density=0.15)
    P[5], T[6] = False, False  # an empty prediction, an empty truth
    T[:, 0] |= ~T.any(1) & ~P.any(1)  # where both are empty we say 1.0, scikit-learn 0.0: see below
    micro = sk.precision_recall_fscore_support(T, P, average="micro", zero_division=0)[:3]
    assert sets.hierarchical_precision_recall_f1(T, P) == pytest.approx(micro, abs=EXACT)
    samples = sk.precision_recall_fscore_support(T, P, average="samples", zero_division=0)[:3]
    assert sets.hierarchical_precision_recall_f1(T, P, average="example") == pytest.approx(samples, abs=EXACT)
    nodes = sk.precision_recall_fscore_support(T, P, average=None, zero_division=0)
    for got, want in zip(sets.node_scores(T, P), nodes, strict=False):
        assert got == pytest.approx(want, abs=EXACT)
    macro = sk.f1_score(T, P, average="macro", zero_division=0)
    assert sets.macro_f1(T, P, np.arange(12)) == pytest.approx(macro, abs=EXACT)
    present = sk.f1_score(T, P, average="macro", labels=np.flatnonzero(T.any(0)), zero_division=0)
    assert sets.macro_f1(T, P) == pytest.approx(present, abs=EXACT)
    assert sets.exact_match(T, P) == pytest.approx(sk.accuracy_score(T, P), abs=EXACT)
    assert sets.hamming_loss(T, P) == pytest.approx(sk.hamming_loss(T, P), abs=EXACT)


def test_both_empty_is_the_one_difference_to_scikit_learn():
    nothing = np.zeros((1, 2), dtype=int)
    assert sk.f1_score(nothing, nothing, average="samples", zero_division=0) == 0.0
    assert sets.hierarchical_precision_recall_f1(nothing, nothing, average="example").f1 == 1.0


def test_other_average_precisions_equal_scikit_learn(rng):
    T, S = labels(rng), scores(rng)
    T[0], T[:, 0] = True, True  # scikit-learn warns of rows and columns without positives
    for ours, average in (
        (ranking.average_precision_weighted, "weighted"),
        (ranking.average_precision_example, "samples"),
    ):
        want = sk.average_precision_score(T.astype(int), S, average=average)
        assert ours(T, csr_matrix(S)) == pytest.approx(want, abs=EXACT)


def test_ndcg_equals_scikit_learn_when_nothing_is_tied_or_unscored(rng):
    T, S = labels(rng), rng.random((40, 12)) + 0.01
    T[:, 0] = True
    for k in (1, 3, 5, 20):
        want = sk.ndcg_score(T.astype(int), S, k=k, ignore_ties=True)
        assert ranking.ndcg_at_k(T, S, k) == pytest.approx(want, abs=EXACT)


# -- networkx and linear programmes ----------------------------------------------------------------------------


def random_tree(rng, nodes=40):
    parents = [int(rng.integers(0, j)) for j in range(1, nodes)]
    return Taxonomy([f"{j:02}" for j in range(nodes)], [(f"{p:02}", f"{c:02}") for c, p in enumerate(parents, 1)])


def test_distance_and_severity_of_single_labels_in_a_tree_equal_networkx(rng):
    tree = random_tree(rng)
    true, guess = rng.choice(tree.nodes, (2, 30)).tolist()
    T, P = (label_matrix(tree, [[node] for node in nodes]) for nodes in (true, guess))
    directed = nx.DiGraph(tree.edges())
    ways = dict(nx.all_pairs_shortest_path_length(directed.to_undirected()))
    assert graph.graph_distance_per_document(tree, T, P).tolist() == [
        ways[t][g] for t, g in zip(true, guess, strict=True)
    ]

    meeting = dict(nx.tree_all_pairs_lowest_common_ancestor(directed, pairs=list(zip(true, guess, strict=True))))
    wrong = [(t, g) for t, g in zip(true, guess, strict=True) if g not in nx.ancestors(directed, t) | {t}]
    height = [
        nx.dag_longest_path_length(directed.subgraph({c} | nx.descendants(directed, c)))
        for c in map(meeting.get, wrong)
    ]
    got = graph.mistake_severity(tree, T, P)
    assert got == (pytest.approx(np.mean(height), abs=EXACT), len(wrong), 30)

    one = [
        (nx.shortest_path_length(directed, meeting[pair], node) + 1)
        for pair in zip(true, guess, strict=True)
        for node in pair
    ]
    assert graph.lca_per_document(tree, T, P).recall == pytest.approx(1 / np.array(one[::2]), abs=EXACT)
    assert graph.lca_per_document(tree, T, P).precision == pytest.approx(1 / np.array(one[1::2]), abs=EXACT)


def test_mgia_of_large_sets_equals_a_linear_programme(rng):
    """A cover of all labels by pairs: the programme's optimum is whole, as its matrix is that of a flow."""
    tree, far = random_tree(rng, 150), int(rng.integers(2, 8))
    leaves = np.array(tree.nodes)[tree.is_leaf]
    true, guess = (set(rng.choice(leaves, 25).tolist()) for _ in range(2))
    ways = dict(nx.all_pairs_shortest_path_length(nx.Graph(tree.edges())))
    pairs = [(t, g) for t in true for g in guess if ways[t][g] < far]
    uncovered = [("t", x) for x in true - guess] + [("g", x) for x in guess - true]
    cover = np.array(
        [[(side == "t" and t == x) or (side == "g" and g == x) for t, g in pairs] for side, x in uncovered]
    )
    cover = np.hstack([cover.reshape(len(uncovered), len(pairs)), np.eye(len(uncovered))])
    cost = [ways[t][g] for t, g in pairs] + [far] * len(uncovered)
    cheapest = linprog(cost, A_ub=-cover, b_ub=-np.ones(len(uncovered))).fun
    got = graph.mgia(tree, label_matrix(tree, [true]), label_matrix(tree, [guess]), far)
    assert got == pytest.approx(1 - cheapest / (far * len(uncovered)), abs=1e-9)


# -- cafaeval --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_fmax_and_smin_equal_cafaeval(seed, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluation = pytest.importorskip("cafaeval.evaluation")
    rng = np.random.default_rng(seed)
    parents = {j: sorted({int(p) for p in rng.integers(0, j, 2)}) if j else [] for j in range(25)}
    dag = Taxonomy(
        [f"T:{j:02}" for j in parents], [(f"T:{p:02}", f"T:{j:02}") for j, ps in parents.items() for p in ps]
    )
    T, train = (label_matrix(dag, [rng.choice(dag.nodes, 3).tolist() for _ in range(n)]) for n in (30, 200))
    S = (rng.integers(0, 99, (30, 25)) + 0.5) / 100 * (rng.random((30, 25)) < 0.2)  # between the steps of 0.01
    bits = curves.information_content(dag, train)

    stanzas = [
        "\n".join(
            [f"[Term]\nid: {node}\nname: x\nnamespace: all", *(f"is_a: {p}" for p, c in dag.edges() if c == node)]
        )
        for node in dag.nodes
    ]
    (tmp_path / "dag.obo").write_text("\n\n".join(stanzas) + "\n")
    (tmp_path / "ia.tsv").write_text("\n".join(f"{x}\t{b!r}" for x, b in zip(dag.nodes, bits.tolist(), strict=True)))
    (tmp_path / "truth.tsv").write_text("\n".join(f"d{i}\t{dag.nodes[j]}" for i, j in np.argwhere(T.toarray())))
    (tmp_path / "guesses").mkdir()
    guesses = [f"d{i}\t{dag.nodes[j]}\t{float(S[i, j])!r}" for i, j in np.argwhere(S)]
    (tmp_path / "guesses" / "ours.tsv").write_text("\n".join(guesses))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table, best = evaluation.cafa_eval(
            str(tmp_path / "dag.obo"),
            str(tmp_path / "guesses"),
            str(tmp_path / "truth.tsv"),
            ia=str(tmp_path / "ia.tsv"),
        )
    coherent, steps = csr_matrix(dag.coherent(S)), np.arange(0.01, 1, 0.01)
    plain = curves.f_max(T, coherent, thresholds=steps)
    same_point = (
        best["f"][["f", "pr", "rc"]].iloc[0].tolist()
    )  # of thresholds as good it names the lowest, we the highest
    assert (plain.f1, plain.precision, plain.recall) == pytest.approx(same_point, abs=1e-9)
    assert curves.f_max(T, coherent, weights=bits, thresholds=steps).f1 == pytest.approx(
        best["f_w"]["f_w"].iloc[0], abs=1e-9
    )
    nearest = curves.s_min(T, coherent, bits, thresholds=steps)
    assert nearest.distance == pytest.approx(table["s_w"].min(), abs=1e-9)
    row = table.loc[table["s_w"].idxmin()]
    assert (nearest.remaining_uncertainty, nearest.misinformation) == pytest.approx(
        (row["ru_w"], row["mi_w"]), abs=1e-9
    )


# -- HiClass: one path a document, by levels -------------------------------------------------------------------


@pytest.fixture(scope="module")
def hiclass_metrics():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns on recent versions of what it imports
        return pytest.importorskip("hiclass.metrics")


TREE = Taxonomy(
    [f"{a}" for a in range(3)] + [f"{a}{b}" for a in range(3) for b in range(3)]
    + [f"{a}{b}{c}" for a in range(3) for b in range(3) for c in range(2)],
    [(f"{a}", f"{a}{b}") for a in range(3) for b in range(3)]
    + [(f"{a}{b}", f"{a}{b}{c}") for a in range(3) for b in range(3) for c in range(2)],
)  # fmt: skip


def paths(rng, n=50):
    """Random paths as (n, levels) arrays, many of them ending above the leaves."""
    nodes = rng.choice(TREE.nodes, n)
    return np.array([[node[:depth] if depth <= len(node) else "" for depth in (1, 2, 3)] for node in nodes])


@pytest.mark.parametrize(("average", "theirs"), [("micro", "micro"), ("example", "macro")])
def test_hierarchical_measures_equal_hiclass_on_paths(rng, hiclass_metrics, average, theirs):
    true, predicted = paths(rng), paths(rng)
    T, P = (label_matrix(TREE, [[max(row, key=len)] for row in rows.tolist()]) for rows in (true, predicted))
    got = sets.hierarchical_precision_recall_f1(T, P, average=average)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = [
            measure(true, predicted, average=theirs)
            for measure in (hiclass_metrics.precision, hiclass_metrics.recall, hiclass_metrics.f1)
        ]
    assert got == pytest.approx(want, abs=EXACT)
