"""Heads and losses against slow references: dense ancestor matrices, plain probabilities, loops over pairs."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn import functional

from hclf.errors import UsageError
from hclf.scorers.neural.encoding import Encoding
from hclf.scorers.neural.heads import (
    HEADS,
    Exclusive,
    Head,
    LabelAttentionHead,
    exclusive_siblings,
    make_head,
)
from hclf.scorers.neural.hierarchy import Hierarchy
from hclf.scorers.neural.losses import LOSSES, asymmetric, bce, find_loss, focal, masked_mean, recursive_penalty
from hclf.taxonomy import Taxonomy
from tests.dags import Dag, dags

SEEDS = st.integers(0, 2**31)
DIAMOND = Taxonomy("abcde", [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("c", "e")])
TREE = Taxonomy(["r", "a", "b", "c", "a1", "a2"], [("r", x) for x in "abc"] + [("a", "a1"), ("a", "a2")])
WIDTH = 4


def whole(taxonomy: Taxonomy) -> Hierarchy:
    return Hierarchy(taxonomy, np.arange(len(taxonomy)))


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def closed(taxonomy: Taxonomy, seed: int, rows: int = 3) -> Tensor:
    """Random closed labels (rows, nodes)."""
    marked = drawn(seed, rows, len(taxonomy)) > 3
    return torch.from_numpy(taxonomy.coherent(marked.double().numpy())) > 0


def below(taxonomy: Taxonomy) -> Tensor:
    """(nodes, nodes) bool: [a, d] whether d is a or below it."""
    return torch.tensor([[d == a or d in taxonomy.descendants(a) for d in taxonomy] for a in taxonomy])


def logit(p: Tensor) -> Tensor:
    return torch.log(p) - torch.log1p(-p)


def read(seed: int, chunks_of: tuple[int, ...], length: int = 5, width: int = WIDTH) -> Encoding:
    """Documents of so many chunks, with tokens masked here and there but at least one token a chunk."""
    document = torch.repeat_interleave(torch.tensor(chunks_of))
    mask = drawn(seed, len(document), length) > 0
    mask[:, 0] = True
    tokens = drawn(seed + 1, len(document), length, width)
    return Encoding(drawn(seed + 2, len(chunks_of), width), tokens, mask, document)


def made(name: str, taxonomy: Taxonomy, members: int = 2, **options: Any) -> Head:
    torch.manual_seed(0)
    return make_head(name, WIDTH, whole(taxonomy), members=members, **options).double()


# -- losses ----------------------------------------------------------------------------------------------------


@given(SEEDS)
def test_losses_are_those_of_plain_probabilities(seed: int) -> None:
    logits, truth = drawn(seed, 4, 5), (drawn(seed + 1, 4, 5) > 0).double()
    weights = drawn(seed + 2, 5).exp()
    p = torch.sigmoid(logits)
    right, less = torch.where(truth > 0, p, 1 - p), (p - 0.05).clamp(min=0)
    slow = {
        "bce": functional.binary_cross_entropy(p, truth, reduction="none"),
        "focal": -((1 - right) ** 2) * right.log(),
        "asymmetric": torch.where(truth > 0, -p.log(), -(less**4) * (1 - less).log()),
    }
    factor = torch.where(truth > 0, weights.expand(4, 5), 1.0)
    for name in LOSSES:
        assert torch.allclose(find_loss(name)(logits, truth, None), slow[name], atol=1e-12)
        assert torch.allclose(find_loss(name)(logits, truth, weights), slow[name] * factor, atol=1e-12)


def test_losses_without_their_twist_are_the_cross_entropy() -> None:
    logits, truth = drawn(0, 4, 5), (drawn(1, 4, 5) > 0).double()
    plain = bce(logits, truth)
    assert torch.allclose(focal(logits, truth, gamma=0), plain)
    assert torch.allclose(asymmetric(logits, truth, gamma_negative=0, margin=0), plain)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_gradients_are_finite_at_extremes(name: str) -> None:
    logits = torch.tensor([-1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4]).repeat(2, 1).requires_grad_()
    truth = torch.tensor([[0.0], [1.0]]).expand(2, 7)
    cost = find_loss(name)(logits, truth, None)
    (gradient,) = torch.autograd.grad(cost.sum(), logits)
    assert cost.isfinite().all()
    assert (cost >= 0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_losses(name: str) -> None:
    logits, truth = drawn(0, 3, 4).requires_grad_(), (drawn(1, 3, 4) > 0).double()
    assert torch.autograd.gradcheck(lambda z: find_loss(name)(z, truth, torch.arange(1.0, 5.0)), logits)


def test_what_is_unknown_costs_nothing_whatever_it_is() -> None:
    cost = torch.tensor([[[1.0, 2.0], [math.inf, 6.0]], [[3.0, 4.0], [math.nan, 9.0]]])
    known = torch.tensor([[True, True], [False, True]])
    assert masked_mean(cost, known).item() == pytest.approx((1 + 2 + 6) / 3 + (3 + 4 + 9) / 3)
    assert masked_mean(cost, torch.zeros_like(known)).item() == 0


@given(dags(), SEEDS)
def test_recursive_penalty_is_a_mean_over_edges(dag: Dag, seed: int) -> None:
    taxonomy = dag.taxonomy
    weight = drawn(seed, 2, len(taxonomy), 3)
    apart = [
        float((weight[m, taxonomy.index(p)] - weight[m, taxonomy.index(c)]).square().sum())
        for m in range(2)
        for p, c in taxonomy.edges()
    ]
    expected = np.mean(apart) if apart else 0.0
    assert recursive_penalty(weight, whole(taxonomy)).item() == pytest.approx(expected)


# -- every head ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("taxonomy", [DIAMOND, Taxonomy("a"), Taxonomy("abc")], ids=["dag", "one", "flat"])
def test_shapes_and_finite_gradients(name: str, taxonomy: Taxonomy) -> None:
    head, encoding = made(name, taxonomy, members=3), read(0, (1, 2))
    raw = head(encoding.pooled[None], encoding)
    assert raw.shape == (3, 2, len(taxonomy))
    assert head.log_odds(raw).shape == (2, len(taxonomy))
    truth = closed(taxonomy, 1, rows=2)
    truth[0, 0] = True
    head.loss(raw, truth).backward()
    gradient = head.out.weight.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert gradient.any()


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_log_odds_and_loss_are_finite_at_extremes(name: str, dtype: torch.dtype) -> None:
    head = made(name, TREE, exclusive=[Exclusive((1, 2, 3), False), Exclusive((4, 5), True)])
    extremes = torch.tensor([-1e4, -90.0, 0.0, 90.0, 1e4], dtype=dtype)
    at = torch.randint(5, (2, 300, 6), generator=torch.Generator().manual_seed(0))
    raw = extremes[at]
    assert head.log_odds(raw).isfinite().all()
    assert head.log_odds(raw).dtype == torch.float32
    assert head.loss(raw, closed(TREE, 0, rows=300)).isfinite()


@pytest.mark.parametrize("name", HEADS)
def test_members_are_heads_of_their_own(name: str) -> None:
    together, encoding = made(name, DIAMOND, members=3), read(0, (1, 2))
    hidden = drawn(5, 3, 2, WIDTH)
    truth = closed(DIAMOND, 1, rows=2)
    known = drawn(6, 2, 5) > -3
    raw = together(hidden, encoding)
    alone, losses, chances = made(name, DIAMOND, members=1), [], []
    for member in range(3):
        state = together.state_dict()
        alone.load_state_dict({k: v[member : member + 1] if len(v) == 3 else v for k, v in state.items()})
        own = alone(hidden[member : member + 1], encoding)
        assert torch.allclose(own[0], raw[member])
        losses.append(alone.loss(own, truth, known))
        chances.append(torch.sigmoid(alone.log_odds(own)))
    assert torch.allclose(together.loss(raw, truth, known), torch.stack(losses).sum())
    assert torch.allclose(together.log_odds(raw), logit(torch.stack(chances).mean(0)))


@pytest.mark.parametrize("name", HEADS)
def test_one_hidden_vector_serves_all_members(name: str) -> None:
    head, encoding = made(name, DIAMOND, members=3), read(0, (1, 1))
    once = encoding.pooled[None]
    assert torch.allclose(head(once, encoding), head(once.expand(3, -1, -1), encoding))


@pytest.mark.parametrize("name", HEADS)
@given(seed=SEEDS)
@settings(max_examples=20)
def test_unknown_pairs_feel_nothing(name: str, seed: int) -> None:
    raw = drawn(seed, 2, 3, 6).requires_grad_()
    head = made(name, TREE, exclusive=[Exclusive((1, 2, 3), False)])
    truth = closed(TREE, seed, rows=3)
    known = truth | (drawn(seed + 1, 3, 6) > 0)
    (gradient,) = torch.autograd.grad(head.loss(raw, truth, known), raw)
    # Exclusive siblings are one question: an answer to it is an answer for all of them.
    asked = known.clone()
    asked[:, 1:4] |= truth[:, 1:4].any(1, keepdim=True)
    assert not gradient.masked_select(~asked.expand(2, -1, -1)).any()


@pytest.mark.parametrize("name", HEADS)
def test_nothing_known_is_no_loss(name: str) -> None:
    raw = drawn(0, 2, 3, 5)
    nothing = torch.zeros(3, 5, dtype=torch.bool)
    assert made(name, DIAMOND).loss(raw, nothing, nothing).item() == 0


@pytest.mark.parametrize("name", HEADS)
def test_gradients_of_heads(name: str) -> None:
    head, truth = made(name, TREE, exclusive=[Exclusive((1, 2, 3), False)]), closed(TREE, 4)
    known = truth | (drawn(1, 3, 6) > -2)
    raw = drawn(0, 2, 3, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: head.loss(z, truth, known, torch.arange(1.0, 7.0)), raw)
    assert torch.autograd.gradcheck(head.log_odds, raw)


@pytest.mark.parametrize("name", ["flat", "max_constraint", "conditional"])
def test_rates_are_where_the_network_starts(name: str) -> None:
    rates = np.array([0.8, 0.5, 0.4, 0.2, 0.1])
    head = made(name, DIAMOND, rates=rates)
    nothing = torch.zeros(1, 2, WIDTH, dtype=torch.float64)
    start = torch.sigmoid(head.log_odds(head(nothing, Encoding(nothing[0]))))
    assert torch.allclose(start, torch.from_numpy(rates).expand(2, -1), atol=1e-6)


def test_penalty_pulls_nodes_towards_their_parents() -> None:
    head = made("flat", DIAMOND)
    for _ in range(200):
        head.zero_grad()
        head.penalty().backward()
        with torch.no_grad():
            gradient = head.out.weight.grad
            assert gradient is not None
            head.out.weight -= 0.5 * gradient
    assert torch.allclose(head.out.weight, head.out.weight[:, :1].expand_as(head.out.weight), atol=1e-6)


def test_make_head_names_what_it_does_not_know() -> None:
    with pytest.raises(UsageError, match="did you mean 'flat'"):
        make_head("flatt", 3, whole(DIAMOND))
    with pytest.raises(UsageError, match="did you mean 'members'"):
        make_head("flat", 3, whole(DIAMOND), member=3)
    with pytest.raises(UsageError, match="no option 'attention_width'"):
        make_head("flat", 3, whole(DIAMOND), attention_width=3)
    with pytest.raises(UsageError, match="did you mean 'focal'"):
        make_head("flat", 3, whole(DIAMOND), loss="fokal")
    with pytest.raises(UsageError, match="at least 1 member"):
        make_head("flat", 3, whole(DIAMOND), members=0)
    with pytest.raises(UsageError, match=r"texts have shape \(5, 2\), not \(5, 3\)"):
        make_head("label_attention", 3, whole(DIAMOND), texts=np.zeros((5, 2), dtype=np.float32))
    with pytest.raises(UsageError, match=r"rates have shape \(4,\), not \(5,\)"):
        make_head("flat", 3, whole(DIAMOND), rates=np.zeros(4))


def test_options_reach_the_heads_below() -> None:
    head = make_head("label_attention", 3, whole(DIAMOND), members=2, loss="focal", attention_width=7)
    assert (head.members, head.cost) == (2, focal)
    assert isinstance(head, LabelAttentionHead)
    assert head.queries.shape == (2, 5, 7)


# -- flat and max-constraint -----------------------------------------------------------------------------------


@given(dags(), SEEDS)
def test_flat_loss_is_a_mean_over_pairs(dag: Dag, seed: int) -> None:
    taxonomy = dag.taxonomy
    raw, truth = drawn(seed, 2, 3, len(taxonomy)), closed(taxonomy, seed)
    weights = drawn(seed + 2, len(taxonomy)).exp()
    expected = sum(
        functional.binary_cross_entropy_with_logits(member, truth.double(), torch.where(truth, weights, 1.0))
        for member in raw
    )
    assert torch.allclose(made("flat", taxonomy).loss(raw, truth, None, weights), torch.as_tensor(expected))


@given(dags(max_nodes=9), SEEDS, st.booleans())
def test_max_constraint_loss_is_that_of_dense_maxima_of_probabilities(dag: Dag, seed: int, partly: bool) -> None:
    taxonomy = dag.taxonomy
    raw = drawn(seed, 2, 3, len(taxonomy)).requires_grad_()
    truth = closed(taxonomy, seed + 1)
    known = truth | (drawn(seed + 2, 3, len(taxonomy)) > 0) if partly else torch.ones_like(truth)
    p = torch.sigmoid(raw)
    inside = below(taxonomy)
    constrained = (p * known)[:, :, None].masked_fill(~inside, 0).amax(-1)
    of_true = (p * truth)[:, :, None].masked_fill(~inside, 0).amax(-1)
    pair = functional.binary_cross_entropy(
        torch.where(truth, of_true, constrained), truth.double().expand(2, -1, -1), reduction="none"
    )
    expected = (pair * known).sum() / known.sum().clamp(min=1)
    head = made("max_constraint", taxonomy)
    found = head.loss(raw, truth, known if partly else None)
    assert torch.allclose(found, expected)
    gradients = [torch.autograd.grad(loss, raw)[0] for loss in (found, expected)]
    assert torch.allclose(*gradients, atol=1e-12)


def test_an_unknown_node_never_answers_for_what_is_above_it() -> None:
    chain = Taxonomy("abc", [("a", "b"), ("b", "c")])
    raw = torch.tensor([[[-1.0, -2.0, 5.0]]], requires_grad=True)  # c, the likeliest by far, is unknown
    for holds in (True, False):
        truth, known = torch.tensor([[holds, False, False]]), torch.tensor([[True, True, False]])
        (gradient,) = torch.autograd.grad(made("max_constraint", chain).loss(raw, truth, known), raw)
        assert gradient[0, 0, 2] == 0
        assert (gradient[0, 0, 0] < 0) == holds
        assert gradient[0, 0, 0] != 0
        assert gradient[0, 0, 1] > 0


def test_a_wrong_descendant_does_not_stand_in_for_a_right_one() -> None:
    fan = Taxonomy("abc", [("a", "b"), ("a", "c")])
    raw = torch.tensor([[[-3.0, -1.0, 4.0]]], requires_grad=True)
    truth = torch.tensor([[True, True, False]])
    (gradient,) = torch.autograd.grad(made("max_constraint", fan).loss(raw, truth), raw)
    assert gradient[0, 0].sign().tolist() == [0, -1, 1]  # a and b push b up, nobody pushes c but itself: down


@given(dags(), SEEDS)
def test_log_odds_of_max_constraint_are_of_the_mean_of_coherent_probabilities(dag: Dag, seed: int) -> None:
    taxonomy = dag.taxonomy
    raw = drawn(seed, 3, 4, len(taxonomy))
    coherent = [taxonomy.coherent(member.numpy()) for member in torch.sigmoid(raw)]
    expected = logit(torch.from_numpy(np.mean(coherent, axis=0)))
    assert torch.allclose(made("max_constraint", taxonomy).log_odds(raw), expected)


# -- conditional -----------------------------------------------------------------------------------------------


def conditional_probabilities(raw: Tensor, groups: list[Exclusive]) -> tuple[Tensor, dict[int, Tensor]]:
    """P(node | parents), and by group P(none), of (documents, nodes) outputs."""
    p, none = torch.sigmoid(raw), {}
    for i, (nodes, complete) in enumerate(groups):
        logits = raw[:, list(nodes)]
        if not complete:
            logits = torch.cat([logits, torch.zeros(len(raw), 1, dtype=raw.dtype)], dim=1)
        softmax = torch.softmax(logits, dim=1)
        p[:, list(nodes)] = softmax[:, : len(nodes)]
        if not complete:
            none[i] = softmax[:, -1]
    return p, none


def families(taxonomy: Taxonomy) -> list[tuple[int, ...]]:
    by_parents: dict[tuple[int, ...], list[int]] = {}
    for j in range(len(taxonomy)):
        by_parents.setdefault(tuple(taxonomy.parents.of(j).tolist()), []).append(j)
    return [tuple(nodes) for nodes in by_parents.values() if len(nodes) > 1]


def some_groups(taxonomy: Taxonomy, data: st.DataObject) -> list[Exclusive]:
    kinds = st.sampled_from([None, True, False])
    drawn_kinds = [(nodes, data.draw(kinds)) for nodes in families(taxonomy)]
    return [Exclusive(nodes, complete) for nodes, complete in drawn_kinds if complete is not None]


@given(dags(), SEEDS, st.data())
def test_conditional_probabilities_multiply_down_to_the_least_of_the_parents(
    dag: Dag, seed: int, data: st.DataObject
) -> None:
    taxonomy = dag.taxonomy
    groups = some_groups(taxonomy, data)
    raw, mean = drawn(seed, 2, 3, len(taxonomy)), torch.zeros(3, len(taxonomy), dtype=torch.float64)
    for member in raw:
        p, _ = conditional_probabilities(member, groups)
        for j in range(len(taxonomy)):
            if parents := taxonomy.parents.of(j).tolist():
                p[:, j] *= p[:, parents].amin(1)
        mean += p / 2
    found = made("conditional", taxonomy, exclusive=groups).log_odds(raw)
    assert torch.allclose(torch.sigmoid(found), mean)
    assert not taxonomy.violations(found.numpy(), tolerance=1e-9).any()


@given(dags(), SEEDS, st.data(), st.booleans())
def test_conditional_loss_is_the_likelihood_given_the_parents(
    dag: Dag, seed: int, data: st.DataObject, partly: bool
) -> None:
    taxonomy = dag.taxonomy
    groups = some_groups(taxonomy, data)
    group_of = {j: i for i, (nodes, _) in enumerate(groups) for j in nodes}
    raw, truth = drawn(seed, 2, 3, len(taxonomy)), closed(taxonomy, seed + 1)
    known = truth | (drawn(seed + 2, 3, len(taxonomy)) > -1) if partly else torch.ones_like(truth)
    weights = drawn(seed + 3, len(taxonomy)).exp()
    total, pairs = 0.0, 0
    for m, d, j in np.ndindex(*raw.shape):
        p, none = conditional_probabilities(raw[m], groups)
        if not known[d, j] or not truth[d, taxonomy.parents.of(j).tolist()].all():
            continue
        if j not in group_of:
            total -= float(weights[j] * p[d, j].log() if truth[d, j] else (1 - p[d, j]).log())
        else:
            nodes, complete = groups[group_of[j]]
            if truth[d, list(nodes)].any():
                total -= float(weights[j] * p[d, j].log()) if truth[d, j] else 0.0
            elif known[d, list(nodes)].all() and not complete:
                total -= float(none[group_of[j]][d].log()) if j == nodes[0] else 0.0
            else:
                continue
        pairs += 1
    found = made("conditional", taxonomy, exclusive=groups).loss(raw, truth, known if partly else None, weights)
    assert found.item() == pytest.approx(2 * total / max(pairs, 1))


def test_a_complete_group_shares_out_all_its_parent_has() -> None:
    head = made("conditional", TREE, exclusive=[Exclusive((1, 2, 3), True), Exclusive((4, 5), False)])
    p = torch.sigmoid(head.log_odds(drawn(0, 1, 10, 6)))
    assert torch.allclose(p[:, 1:4].sum(1), p[:, 0])
    assert (p[:, 4:].sum(1) < p[:, 1]).all()


def test_sure_nodes_keep_their_order_in_single_precision() -> None:
    raw = torch.tensor([[[20.0, 25.0, 0.0, 0.0, 30.0, 3.0]]])
    plain = made("conditional", TREE).log_odds(raw)
    assert plain[0, :2].tolist() == pytest.approx([20.0, -math.log(math.exp(-20) + math.exp(-25))], rel=1e-5)
    grouped = made("conditional", TREE, exclusive=[Exclusive((4, 5), True)]).log_odds(raw)
    of_a1 = math.exp(-20) + math.exp(-25) + math.exp(-27)
    assert grouped[0, 4].item() == pytest.approx(-math.log(of_a1), rel=1e-4)


def test_a_chain_of_doubts_does_not_vanish() -> None:
    names = [f"{i:03}" for i in range(200)]
    chain = Taxonomy(names, list(pairwise(names)))
    raw = torch.full((1, 1, 200), -50.0)
    assert made("conditional", chain).log_odds(raw)[0, -1].item() == pytest.approx(-10_000)


# -- exclusive siblings ----------------------------------------------------------------------------------------


def labels(rows: list[str], taxonomy: Taxonomy = TREE) -> csr_matrix[Any]:
    """Closed labels from words such as "a1 b"."""
    sets = [[taxonomy.index(node) for node in taxonomy.closure(row.split())] for row in rows]
    dense = np.zeros((len(rows), len(taxonomy)), dtype=bool)
    for i, columns in enumerate(sets):
        dense[i, columns] = True
    return csr_matrix(dense)


def test_siblings_that_never_meet_are_exclusive() -> None:
    assert exclusive_siblings(whole(TREE), labels(["a", "b", "c"] * 5)) == [Exclusive((1, 2, 3), True)]
    assert exclusive_siblings(whole(TREE), labels(["a", "b", "c"] * 5 + ["r"])) == [Exclusive((1, 2, 3), False)]
    assert exclusive_siblings(whole(TREE), labels(["a", "b", "c"] * 50 + ["a b"])) == []


def test_few_documents_show_nothing() -> None:
    assert exclusive_siblings(whole(TREE), labels(["a", "b", "c"])) == []  # one pair would be expected by chance
    assert exclusive_siblings(whole(TREE), labels(["a"] * 1000 + ["b", "b"])) == []  # two would be
    assert exclusive_siblings(whole(TREE), labels(["a1"] * 8 + ["a2"] * 8)) == [Exclusive((4, 5), True)]


def test_a_document_that_does_not_say_which_is_no_document_without() -> None:
    rows = ["a", "b", "c"] * 5 + ["r"]
    unknown = np.zeros((16, 6), dtype=bool)
    unknown[15, 1:] = True
    found = exclusive_siblings(whole(TREE), labels(rows), csr_matrix(unknown))
    assert found == [Exclusive((1, 2, 3), True)]


def test_roots_are_a_family_and_columns_are_those_of_the_hierarchy() -> None:
    forest = Taxonomy(["p", "q", "x", "y"], [("q", "x"), ("q", "y")])
    rows = labels(["p", "x", "y"] * 10, forest)
    assert exclusive_siblings(whole(forest), rows) == [Exclusive((0, 1), True), Exclusive((2, 3), True)]
    part = Hierarchy(forest, np.array([1, 2, 3]))
    assert exclusive_siblings(part, rows) == [Exclusive((1, 2), True)]


@given(dags(max_nodes=7), SEEDS)
def test_exclusive_siblings_by_counting(dag: Dag, seed: int) -> None:
    taxonomy = dag.taxonomy
    marks = np.random.default_rng(seed).integers(len(taxonomy), size=(40, 1)) == np.arange(len(taxonomy))
    Y = taxonomy.coherent(marks.astype(float)) > 0
    expected = []
    for nodes in families(taxonomy):
        above = Y[:, taxonomy.parents.of(nodes[0])].all(axis=1)
        inside = Y[np.ix_(above, nodes)]
        rate = inside.mean(axis=0) if len(inside) else np.zeros(len(nodes))
        by_chance = sum(rate[i] * rate[j] for i in range(len(nodes)) for j in range(i)) * len(inside)
        if (inside.sum(axis=1) <= 1).all() and by_chance >= 3 - 1e-9:
            expected.append(Exclusive(nodes, bool(inside.any(axis=1).all())))
    assert sorted(exclusive_siblings(whole(taxonomy), csr_matrix(Y))) == sorted(expected)


# -- label attention -------------------------------------------------------------------------------------------


def slow_attention(head: LabelAttentionHead, encoding: Encoding) -> Tensor:
    """One document, member and node at a time."""
    assert encoding.tokens is not None
    assert encoding.mask is not None
    assert encoding.document is not None
    out = torch.zeros(head.members, len(encoding.pooled), head.hierarchy.size, dtype=torch.float64)
    for m, d, n in np.ndindex(*out.shape):
        chunks = encoding.document == d
        tokens = encoding.tokens[chunks][encoding.mask[chunks]]
        keys = tokens if head.project is None else torch.tanh(head.project(tokens))
        query = head.queries[m, n]
        attention = torch.softmax(keys @ query / math.sqrt(len(query)), dim=0)
        out[m, d, n] = (attention @ tokens) @ head.out.weight[m, n] + head.out.bias[m, n]
    return out


@given(
    SEEDS,
    st.lists(st.integers(1, 3), min_size=1, max_size=4),
    st.sampled_from([None, 3]),
    st.sampled_from([None, 1, 25]),
)
@settings(max_examples=50)
def test_attention_runs_over_all_tokens_of_all_chunks(
    seed: int, chunks: list[int], attention_width: int | None, at_a_time: int | None
) -> None:
    head = made("label_attention", DIAMOND, attention_width=attention_width, at_a_time=at_a_time)
    assert isinstance(head, LabelAttentionHead)
    encoding = read(seed % 2**30, tuple(chunks))
    assert torch.allclose(head(encoding.pooled[None], encoding), slow_attention(head, encoding))


def test_parts_learn_as_the_whole_does() -> None:
    encoding, gradients = read(0, (2, 1)), []
    for at_a_time in (1, 10**6):
        head = made("label_attention", DIAMOND, attention_width=3, at_a_time=at_a_time)
        tokens = encoding.tokens
        assert tokens is not None
        tokens = tokens.clone().requires_grad_()
        head.loss(head(encoding.pooled[None], encoding._replace(tokens=tokens)), closed(DIAMOND, 0, 2)).backward()
        gradients.append([tokens.grad, *(parameter.grad for parameter in head.parameters())])
    for of_parts, of_whole in zip(*gradients, strict=True):
        assert torch.allclose(of_parts, of_whole)
        assert of_whole.any()


def test_gradients_of_attention() -> None:
    head, encoding = made("label_attention", Taxonomy("ab"), members=1), read(3, (2, 1), length=3, width=WIDTH)
    tokens = encoding.tokens
    assert tokens is not None

    def raw(tokens: Tensor) -> Tensor:
        found: Tensor = head(encoding.pooled[None], encoding._replace(tokens=tokens))
        return found

    assert torch.autograd.gradcheck(raw, tokens.requires_grad_())


def test_a_document_is_read_by_itself() -> None:
    head, both = made("label_attention", DIAMOND), read(0, (2, 1))
    assert both.tokens is not None
    assert both.mask is not None
    assert both.document is not None
    second = Encoding(both.pooled[1:], both.tokens[2:], both.mask[2:], both.document[2:] - 1)
    alone, together = head(second.pooled[None], second), head(both.pooled[None], both)
    assert torch.allclose(alone[:, 0], together[:, 1])


def test_extreme_scores_and_empty_documents_stay_finite() -> None:
    head = made("label_attention", DIAMOND).float()
    tokens = torch.full((2, 3, WIDTH), 1e4).requires_grad_()
    mask = torch.tensor([[True, True, False], [False, False, False]])
    encoding = Encoding(torch.zeros(2, WIDTH), tokens, mask, torch.tensor([0, 1]))
    raw = head(encoding.pooled[None], encoding)
    assert raw.isfinite().all()
    assert torch.equal(raw[:, 1], head.out.bias)  # of nothing read nothing is said
    raw.sum().backward()
    assert tokens.grad is not None
    assert tokens.grad.isfinite().all()


@pytest.mark.parametrize("attention_width", [None, 3])
def test_queries_start_from_texts(attention_width: int | None) -> None:
    texts = drawn(0, 5, WIDTH).numpy()
    texts[2] = 0
    head = made("label_attention", DIAMOND, texts=texts, attention_width=attention_width)
    assert isinstance(head, LabelAttentionHead)
    scale = head.queries.shape[-1] ** 0.5
    said = [0, 1, 3, 4]
    assert torch.allclose(head.queries.norm(dim=-1)[:, said], torch.tensor(scale).double())
    assert not torch.equal(head.queries[0, 2], head.queries[1, 2])  # without a text: at random


def test_a_query_finds_the_token_that_is_the_text() -> None:
    texts = drawn(0, 5, WIDTH)
    head = made("label_attention", DIAMOND, texts=texts.numpy())
    assert isinstance(head, LabelAttentionHead)
    tokens = functional.normalize(texts, dim=-1)
    assert (head.queries @ tokens.T).argmax(-1).tolist() == [[0, 1, 2, 3, 4]] * 2


def test_attention_needs_tokens() -> None:
    pooled = torch.zeros(2, WIDTH)
    with pytest.raises(UsageError, match="reads tokens"):
        made("label_attention", DIAMOND)(pooled[None], Encoding(pooled))
    with pytest.raises(UsageError, match="attention_width"):
        made("label_attention", DIAMOND, attention_width=0)


def test_half_precision_is_read_in_half_and_weighed_in_full() -> None:
    head, encoding = made("label_attention", DIAMOND).float(), read(0, (2, 1))
    assert encoding.tokens is not None
    encoding = encoding._replace(tokens=encoding.tokens.float())
    hidden = encoding.pooled[None].float()
    exact = head(hidden, encoding)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = head(hidden, encoding)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    assert (rough - exact).abs().max() < 0.1
