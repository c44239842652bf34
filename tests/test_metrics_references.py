"""Law 6 for every metric: equal to a slow set-based reference, written from its formula, on 1,000 random DAGs.

The references work on Python sets and networkx graphs and know nothing of matrices. `TOP` is the implicit node above
the roots. Problems are small, with many ties, forests, nodes with several parents, and empty sets on either side.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np
import pytest
from scipy.sparse import csr_matrix
from test_metrics import average, average_precision, closed, prf, prf_of_documents, prf_of_pairs

from hclf import metrics
from hclf.labels import label_matrix
from hclf.taxonomy import Taxonomy

EXACT = 1e-9
TOP = "the node above the roots"
GRID = [0.0, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0]


@dataclass
class Problem:
    """A random DAG, closed label sets, a prediction that may not be closed, coherent scores, training labels."""

    seed: int

    def __post_init__(self):
        rng = random.Random(self.seed)
        ids = [f"n{i}" for i in range(rng.choice([1, 3, 6, 9, 12, 15]))]
        rng.shuffle(ids)
        most, window = rng.choice([1, 1, 2, 3]), rng.choice([2, 4, 15])  # deep, or broad
        self.parents = {
            node: set(rng.sample(ids[:i][:window], min(i, window, rng.randint(rng.random() > 0.1, most))))
            for i, node in enumerate(ids)
        }
        self.taxonomy = Taxonomy(ids, [(p, c) for c, ps in self.parents.items() for p in ps])
        self.nodes = self.taxonomy.nodes
        documents = rng.choice([0, 1, 4, 8])

        def sets(number):
            return [
                closed(self.parents, rng.sample(ids, min(len(ids), rng.choice([0, 1, 2, 5, 7]))))
                for _ in range(number)
            ]

        self.true, self.predicted, self.train = sets(documents), sets(documents), sets(rng.randint(3, 9))
        for i in range(documents):  # near misses are what hierarchical metrics are about
            if rng.random() < 0.4 and self.true[i]:
                self.predicted[i] = closed(self.parents, rng.sample(sorted(self.true[i]), 1) + rng.sample(ids, 1))
        self.raw = [{x for x in p if rng.random() < 0.7} for p in self.predicted]
        S = np.array([[rng.choice(GRID) for _ in ids] for _ in range(documents)]).reshape(documents, len(ids))
        self.dense = self.taxonomy.coherent(S)
        self.scores = [dict(zip(self.nodes, row, strict=True)) for row in self.dense.tolist()]
        self.weights = np.array([rng.choice([0.0, 0.5, 1.0, 2.5]) for _ in ids])
        self.far, self.k = rng.randint(1, 6), rng.randint(1, 5)
        self.T, self.P, self.R, self.train_matrix = (
            label_matrix(self.taxonomy, rows, closed=False)
            for rows in (self.true, self.predicted, self.raw, self.train)
        )
        self.S = csr_matrix(self.dense)

    @cached_property
    def graph(self):
        """Edges from child to parent, and from roots to TOP."""
        graph = nx.DiGraph()
        graph.add_node(TOP)
        graph.add_edges_from((c, p) for c, ps in self.parents.items() for p in ps or {TOP})
        return graph

    @cached_property
    def up(self):
        """up[v][c]: edges of the shortest way from v up to c."""
        return {v: nx.single_source_shortest_path_length(self.graph, v) for v in self.graph}

    @cached_property
    def height(self):
        """The longest way down from each node, in edges."""
        out = {
            v: max((len(way) - 1 for c in self.graph for way in self.all_ways(c, v)), default=0) for v in self.nodes
        }
        return out | {TOP: max(out.values()) + 1}

    def all_ways(self, low, high):
        return nx.all_simple_paths(self.graph, low, high) if low != high else []

    def level(self, v):
        return 0 if v == TOP else int(self.taxonomy.levels[self.column(v)])

    def column(self, v):
        return len(self.nodes) if v == TOP else self.taxonomy.index(v)

    def deepest(self, labels):
        return {v for v in labels if not any(v != w and v in self.up[w] for w in labels)}

    def distance(self, v, w):
        return min(self.up[v][c] + self.up[w][c] for c in self.up[v] if c in self.up[w])

    def documents(self):
        """(A, B) of each document."""
        return [(self.deepest(t), self.deepest(p)) for t, p in zip(self.true, self.predicted, strict=True)]

    def judged(self):
        return [i for i, t in enumerate(self.true) if t]

    def ranked(self, i):
        scores = self.scores[i]
        return sorted((x for x in self.nodes if scores[x] > 0), key=lambda x: -scores[x])

    def at(self, threshold):
        """What is predicted for the documents with truth."""
        return {i: {x for x in self.nodes if self.scores[i][x] >= threshold} for i in self.judged()}

    def thresholds(self):
        return sorted({s for i in self.judged() for s in self.scores[i].values() if s > 0}, reverse=True)


# -- references ------------------------------------------------------------------------------------------------


def graph_distances(p):
    def nearest(v, others):
        return min(p.distance(v, w) for w in others)

    out = []
    for a, b in p.documents():
        a, b = a or {TOP}, b or {TOP}
        out.append((average([nearest(v, b) for v in a]) + average([nearest(w, a) for w in b])) / 2)
    return out


def graph_accuracy(p, a, b):
    """MGIA of one document by trying everything: each label of A takes any set of partners, or none."""
    if not a ^ b:
        return 1.0
    cheapest = {frozenset(a & b): 0}  # by the labels of B that have a partner
    for v in a:
        near = [w for w in b if p.distance(v, w) < p.far]
        partners = [set(c) for n in range(len(near) + 1) for c in itertools.combinations(near, n)]
        after = {}
        for served, so_far in cheapest.items():
            for some in partners:
                cost = so_far + (sum(p.distance(v, w) for w in some) if some or v in b else p.far)
                key = served | some
                after[key] = min(after.get(key, math.inf), cost)
        cheapest = after
    error = min(cost + p.far * len(b - served) for served, cost in cheapest.items())
    return 1 - error / (p.far * len(a ^ b))


def lca_sets(p, a, b):
    """A+ and B+ of one document, by the three steps of the docstring."""
    serve = {}
    for own, others in ((a, b), (b, a)):
        for v in own:
            shortest = min((p.distance(v, w) for w in others), default=None)
            serve[v] = serve.get(v, set()) | {
                c for w in others for c in p.up[v] if c in p.up[w] and p.up[v][c] + p.up[w][c] == shortest
            }
    # a label of both sets is to be served twice, on each side
    waiting = {(side, v) for side, own in enumerate((a, b)) for v in own if serve[v]}
    server = {}
    while waiting:
        candidates = {c for _, v in waiting for c in serve[v]}
        best = max(candidates, key=lambda c: (sum(c in serve[v] for _, v in waiting), p.level(c), -p.column(c)))
        served = {(side, v) for side, v in waiting if best in serve[v]}
        server |= dict.fromkeys(served, best)
        waiting -= served
    extended = []
    for side, own in enumerate((a, b)):
        found = set(own) | set(server.values())
        for v in own:
            while (goal := server.get((side, v), v)) != v:
                v = min((u for u in p.graph[v] if p.up[u].get(goal) == p.up[v][goal] - 1), key=p.column)
                server[side, v] = goal
                found.add(v)
        extended.append(found - {TOP})
    return extended


def lca_scores(p):
    return (
        prf_of_documents(*zip(*[lca_sets(p, a, b) for a, b in p.documents()], strict=True)) if p.true else [0, 0, 0]
    )


def severity(p):
    wrong = [(t, v) for t, s in zip(p.true, p.predicted, strict=True) for v in p.deepest(s) if v not in t]
    grave = []
    for t, v in wrong:
        meeting = [c for c in p.up[v] if c in t] or [TOP]
        grave.append(p.height[max(meeting, key=lambda c: (p.level(c), -p.height[c]))])
    return average(grave), len(wrong), sum(len(p.deepest(s)) for s in p.predicted)


def curve_at(p, threshold, weight):
    """(precision, recall, coverage, missing, wrong) at one threshold."""
    total = lambda nodes: sum(weight[x] for x in nodes)  # noqa: E731
    sets = [(p.true[i], s) for i, s in p.at(threshold).items()]
    return (
        average([total(t & s) / total(s) for t, s in sets if total(s)]),
        average([total(t & s) / total(t) if total(t) else 0.0 for t, s in sets]),
        average([total(s) > 0 for _, s in sets]),
        average([total(t - s) for t, s in sets]),
        average([total(s - t) for t, s in sets]),
        average([len(s) for _, s in sets]),
    )


def best_f(p, weight):
    points = [curve_at(p, t, weight) for t in p.thresholds()]
    return max((2 * pr * rc / (pr + rc) if pr + rc else 0.0 for pr, rc, *_ in points), default=0.0)


def least_distance(p, weight):
    points = [curve_at(p, t, weight) for t in p.thresholds()]
    nothing = average([sum(weight[x] for x in p.true[i]) for i in p.judged()])
    return min((math.hypot(missing, wrong) for _, _, _, missing, wrong, _ in points), default=nothing)


def area(p):
    ones = dict.fromkeys(p.nodes, 1.0)
    everything = average([len(p.true[i]) / len(p.nodes) for i in p.judged()])
    points = [curve_at(p, t, ones)[:2] for t in p.thresholds()] + [(everything, 1.0)]
    steps = zip(points, [(0.0, 0.0), *points], strict=False)
    return sum((rc - before) * pr for (pr, rc), (_, before) in steps) if p.judged() else 0.0


def information(p, pseudocount):
    out = []
    for x in p.nodes:
        given = [t for t in p.train if p.parents[x] <= t]
        chance = (sum(x in t for t in given) + pseudocount, len(given) + pseudocount)
        out.append(-math.log2(chance[0] / chance[1]) if chance[0] else 0.0)
    return out


def discounted_gain(p, i):
    gains = [1 / math.log2(r + 2) for r, x in enumerate(p.ranked(i)[: p.k]) if x in p.true[i]]
    return sum(gains) / sum(1 / math.log2(r + 2) for r in range(min(p.k, len(p.true[i]))))


def propensity(p):
    counts = [sum(x in t for t in p.train) for x in p.nodes]
    c = (math.log(len(p.train)) - 1) * 2.5**0.55
    return [1 / (1 + c * math.exp(-0.55 * math.log(n + 1.5))) for n in counts]


def propensity_scored(p):
    worth = dict(zip(p.nodes, [1 / x for x in propensity(p)], strict=True))
    got = [sum(worth[x] for x in p.ranked(i)[: p.k] if x in p.true[i]) for i in p.judged()]
    best = [sum(sorted((worth[x] for x in p.true[i]), reverse=True)[: p.k]) for i in p.judged()]
    return average([g / p.k for g in got]), sum(got) / sum(best) if best else 0.0


def unknown(p, i):
    return {x for x in p.nodes if any(x != v and v in p.up[x] for v in p.deepest(p.true[i]))}


def answered_figures(true, predicted):
    given = [(t, s) for t, s in zip(true, predicted, strict=True) if s]
    return (
        average([bool(s) for s in predicted]),
        average([len(t & s) / len(s) for t, s in given]),
        average([s <= t for t, s in given]),
        len(given),
    )


def macro(p, predicted):
    rows = []
    for x in p.nodes:
        t, s = ({i for i, labels in enumerate(sets) if x in labels} for sets in (p.true, predicted))
        if t:
            rows.append(prf(len(t & s), len(s), len(t)))
    return [average([row[i] for row in rows]) for i in range(3)]


# -- the comparison --------------------------------------------------------------------------------------------


def same(got, want):
    assert np.asarray(got, dtype=float) == pytest.approx(np.asarray(want, dtype=float), abs=EXACT)


def check_graph(p):
    t, T, P = p.taxonomy, p.T, p.P
    same(metrics.graph_distance_per_document(t, T, P), graph_distances(p))
    same(metrics.mean_graph_distance(t, T, P), average(graph_distances(p)))
    accuracies = [graph_accuracy(p, a, b) for a, b in p.documents()]
    same(metrics.mgia_per_document(t, T, P, p.far), accuracies)
    same(metrics.mgia(t, T, P, p.far), average(accuracies))
    same(metrics.lca_precision_recall_f1(t, T, P), lca_scores(p))
    same(metrics.mistake_severity(t, T, P), severity(p))


def check_sets(p):
    t, T, P = p.taxonomy, p.T, p.P
    same(metrics.hierarchical_precision_recall_f1(T, P), prf_of_pairs(p.true, p.predicted))
    same(metrics.hierarchical_precision_recall_f1(T, P, "example"), prf_of_documents(p.true, p.predicted))
    same(metrics.hierarchical_precision_recall_f1(T, P, "macro"), macro(p, p.predicted))
    same(metrics.macro_f1(T, P), macro(p, p.predicted)[2])
    consistent = [{x for x in s if set(p.up[x]) - {TOP} <= s} for s in p.raw]
    same(metrics.constrained_precision_recall_f1(t, T, p.R), prf_of_pairs(p.true, consistent))
    same(metrics.constrained_precision_recall_f1(t, T, p.R, "example"), prf_of_documents(p.true, consistent))
    same(metrics.constrained_precision_recall_f1(t, T, p.R, "macro"), macro(p, consistent))
    both = list(zip(p.true, p.predicted, strict=True))
    same(metrics.exact_match(T, P), average([a == b for a, b in both]))
    same(metrics.hamming_loss(T, P), average([len(a ^ b) / len(p.nodes) for a, b in both]))
    same(metrics.unknown_rate(P), average([not s for s in p.predicted]))
    same(metrics.answered(T, P), answered_figures(p.true, p.predicted))
    levels, by_level = metrics.level_scores(T, P, t.levels), metrics.answered_by_level(T, P, t.levels)
    for i in range(t.depth):
        inside = {x for x in p.nodes if p.level(x) == i + 1}
        same([column[i] for column in levels[:3]], prf_of_pairs(p.true, p.predicted, keep=inside.__contains__))
        here = [[s & inside for s in rows] for rows in (p.true, p.predicted)]
        same([column[i] for column in by_level], answered_figures(*here))


def check_rankings(p):
    T, S, k = p.T, p.S, p.k
    columns = [[(p.scores[i][x], x in p.true[i]) for i in range(len(p.true))] for x in p.nodes]
    each, support = [average_precision(c) for c in columns], [sum(good for _, good in c) for c in columns]
    same(metrics.average_precision_micro(T, S), average_precision([entry for c in columns for entry in c]))
    same(metrics.average_precision_per_node(T, S), each)
    same(metrics.average_precision_macro(T, S), average([ap for ap, n in zip(each, support, strict=True) if n]))
    frequent = sum(ap * n for ap, n in zip(each, support, strict=True)) / max(sum(support), 1)
    same(metrics.average_precision_weighted(T, S), frequent)
    heavy = sum(ap * w for ap, w in zip(each, p.weights, strict=True)) / (p.weights.sum() or 1)
    same(metrics.average_precision_weighted(T, S, p.weights), heavy)
    rows = [average_precision([(p.scores[i][x], x in p.true[i]) for x in p.nodes]) for i in p.judged()]
    same(metrics.average_precision_example(T, S), average(rows))
    hits = {i: [x in p.true[i] for x in p.ranked(i)] for i in p.judged()}
    ap = [sum(average(h[: r + 1]) for r, good in enumerate(h) if good) / len(p.true[i]) for i, h in hits.items()]
    same(metrics.mean_average_precision(T, S), average(ap))
    same(metrics.precision_at_k(T, S, k), average([sum(h[:k]) / k for h in hits.values()]))
    same(metrics.recall_at_k(T, S, k), average([sum(h[:k]) / len(p.true[i]) for i, h in hits.items()]))
    same(metrics.ndcg_at_k(T, S, k), average([discounted_gain(p, i) for i in p.judged()]))
    likely = metrics.propensities(np.asarray(p.train_matrix.sum(axis=0)).ravel(), len(p.train))
    same(likely, propensity(p))
    plain, normalised = propensity_scored(p)
    same(metrics.propensity_scored_precision_at_k(T, S, likely, k, normalised=False), plain)
    same(metrics.propensity_scored_precision_at_k(T, S, likely, k), normalised)


def check_curves(p):
    T, S = p.T, p.S
    ones, weight = dict.fromkeys(p.nodes, 1.0), dict(zip(p.nodes, p.weights.tolist(), strict=True))
    for w, given in ((ones, None), (weight, p.weights)):
        for thresholds, wanted in ((None, p.thresholds()), (np.array([0.05, 0.5, 0.8]), [0.8, 0.5, 0.05])):
            curve = metrics.precision_recall_curve(T, S, weights=given, thresholds=thresholds)
            same(curve.threshold, wanted)
            same(np.array(curve[1:]).T.reshape(-1, 6), np.array([curve_at(p, t, w) for t in wanted]).reshape(-1, 6))
        same(metrics.f_max(T, S, weights=given).f1, best_f(p, w))
        same(metrics.s_min(T, S, np.array(list(w.values()))).distance, least_distance(p, w))
    same(metrics.hf_auc(T, S), area(p))
    same(metrics.hf_auc(T, S, metrics.precision_recall_curve(T, S)), area(p))
    for pseudocount in (0.0, 1.0):
        same(metrics.information_content(p.taxonomy, p.train_matrix, pseudocount), information(p, pseudocount))


def check_partial(p):
    known = metrics.only_known(p.taxonomy, p.T, p.P)
    want = [s - unknown(p, i) for i, s in enumerate(p.predicted)]
    same(known.toarray(), label_matrix(p.taxonomy, want, closed=False).toarray())
    scores = [[0.0 if x in unknown(p, i) else row[x] for x in p.nodes] for i, row in enumerate(p.scores)]
    same(metrics.only_known(p.taxonomy, p.T, p.dense).toarray(), np.array(scores).reshape(p.dense.shape))


def check(seed):
    problem = Problem(seed)
    for part in (check_graph, check_sets, check_rankings, check_curves, check_partial):
        part(problem)


@pytest.mark.parametrize("start", range(0, 100, 10))
def test_every_metric_equals_its_reference(start):
    for seed in range(start, start + 10):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 1000, 100))
def test_every_metric_equals_its_reference_on_a_thousand_problems(start):
    for seed in range(start, start + 100):
        check(seed)


def test_the_problems_are_of_all_kinds():
    """Ties and corners are what the comparison is for: they must be there."""
    problems = [Problem(seed) for seed in range(100)]
    documents = [pair for p in problems for pair in p.documents()]
    assert sum(not p.taxonomy.is_tree for p in problems) >= 20
    assert sum(int(p.taxonomy.is_root.sum()) > 1 for p in problems) >= 10
    assert sum(not a and bool(b) for a, b in documents) >= 10
    assert sum(bool(a) and not b for a, b in documents) >= 10
    assert sum(not a and not b for a, b in documents) >= 5
    assert sum(len(a - b) > 1 and len(b - a) > 1 for a, b in documents) >= 10  # pairing is a choice
    assert sum(r != closed(p.parents, r) for p in problems for r in p.raw) >= 20
