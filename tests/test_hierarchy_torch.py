"""The taxonomy inside networks: coherence and its gradients against slow references, and networks side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from hclf.errors import UsageError
from hclf.scorers.neural import hierarchy as module
from hclf.scorers.neural.hierarchy import Hierarchy
from hclf.scorers.neural.trunk import BatchedLinear, Trunk
from hclf.taxonomy import Taxonomy
from tests.dags import Dag, dags

SEEDS = st.integers(0, 2**31)
FLOATS = st.sampled_from([torch.float32, torch.float64, torch.bfloat16])


def whole(taxonomy: Taxonomy) -> Hierarchy:
    return Hierarchy(taxonomy, np.arange(len(taxonomy)))


def below(dag: Dag) -> Tensor:
    """(nodes, nodes) bool: [a, d] whether d is a or below it, by networkx."""
    nodes = dag.taxonomy.nodes
    return torch.tensor([[d == a or d in dag.below(a) for d in nodes] for a in nodes])


def scores_of(dag: Dag, seed: int, dtype: torch.dtype = torch.float64, rows: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(rows, len(dag.ids), generator=generator) * 10).to(dtype)


@given(dags(), SEEDS, FLOATS)
@settings(max_examples=60)
def test_coherent_and_capped_are_those_of_the_taxonomy(dag: Dag, seed: int, dtype: torch.dtype) -> None:
    scores = scores_of(dag, seed, dtype)
    exact: NDArray[Any] = scores.double().numpy()
    found = whole(dag.taxonomy)
    assert found.coherent(scores).dtype == dtype
    assert np.array_equal(found.coherent(scores).double(), dag.taxonomy.coherent(exact))
    assert np.array_equal(found.capped(scores).double(), dag.taxonomy.coherent(exact, "min"))


@given(dags(), SEEDS, st.sampled_from([torch.float32, torch.float64]))
def test_ties_zeros_and_infinities_are_no_exception(dag: Dag, seed: int, dtype: torch.dtype) -> None:
    values = torch.tensor([-torch.inf, -1.0, -1e-40, -0.0, 0.0, 1e-40, 1.0, torch.inf], dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    scores = values[torch.randint(len(values), (2, 3, len(dag.ids)), generator=generator)]
    rows = scores.reshape(6, -1).numpy()
    found = whole(dag.taxonomy)
    assert np.array_equal(found.coherent(scores).reshape(6, -1), dag.taxonomy.coherent(rows))
    assert np.array_equal(found.capped(scores).reshape(6, -1), dag.taxonomy.coherent(rows, "min"))


@given(dags(max_nodes=8), SEEDS)
def test_gradients_are_those_of_a_dense_maximum(dag: Dag, seed: int) -> None:
    scores = scores_of(dag, seed).requires_grad_()
    weight = scores_of(dag, seed + 1)
    inside = below(dag)
    slow_max = scores[:, None].masked_fill(~inside, -torch.inf).amax(-1)
    slow_min = scores[:, None].masked_fill(~inside.T, torch.inf).amin(-1)
    found = whole(dag.taxonomy)
    for fast, slow in ((found.coherent(scores), slow_max), (found.capped(scores), slow_min)):
        assert torch.equal(fast, slow)
        (got,) = torch.autograd.grad((fast * weight).sum(), scores, retain_graph=True)
        (expected,) = torch.autograd.grad((slow * weight).sum(), scores, retain_graph=True)
        assert torch.allclose(got, expected)


def test_gradients_are_those_of_small_differences() -> None:
    diamond = Taxonomy("abcd", [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    scores = torch.tensor([[0.1, 0.5, 0.3, 0.4], [0.9, 0.1, 0.2, 0.8]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(whole(diamond).coherent, scores)
    assert torch.autograd.gradcheck(whole(diamond).capped, scores)
    assert torch.autograd.gradcheck(whole(diamond).chained, scores)


@given(dags(max_nodes=8), SEEDS, st.sampled_from([torch.float32, torch.float64]))
def test_rank_goes_before_score(dag: Dag, seed: int, dtype: torch.dtype) -> None:
    scores = scores_of(dag, seed, dtype).repeat(2, 1, 1) * torch.tensor([[[1.0]], [[-1.0]]], dtype=dtype)
    rank = torch.randint(4, (3, len(dag.ids)), generator=torch.Generator().manual_seed(seed))
    inside = below(dag)
    winners = whole(dag.taxonomy).winners(scores, rank)
    for member, row, node in np.ndindex(2, 3, len(dag.ids)):
        reached = torch.nonzero(inside[node])[:, 0].tolist()
        best = max(reached, key=lambda d: (rank[row, d].item(), scores[member, row, d].item(), d))
        assert winners[member, row, node] == best


@given(dags(), SEEDS, st.data())
def test_a_part_closed_upwards_is_a_hierarchy_of_its_own(dag: Dag, seed: int, data: st.DataObject) -> None:
    taxonomy = dag.taxonomy
    kept = taxonomy.closure(data.draw(st.sets(st.sampled_from(dag.ids))))
    columns = np.array([taxonomy.index(node) for node in kept], dtype=np.int64)
    part = Hierarchy(taxonomy, columns)
    alone = Taxonomy(kept, [(p, c) for p, c in taxonomy.edges() if c in kept])
    assert (part.size, part.levels.tolist()) == (len(kept), alone.levels.tolist())
    assert [(kept[p], kept[c]) for p, c in part.edges.T.tolist()] == list(alone.edges())
    scores = scores_of(dag, seed)[:, columns]
    assert np.array_equal(part.coherent(scores), alone.coherent(scores.numpy()))


def test_columns_without_a_parent_or_out_of_order_are_refused() -> None:
    taxonomy = Taxonomy("abc", [("a", "b"), ("b", "c")])
    with pytest.raises(UsageError, match="lack the parent 'b'"):
        Hierarchy(taxonomy, np.array([0, 2]))
    with pytest.raises(UsageError, match="ascending"):
        Hierarchy(taxonomy, np.array([1, 0]))


def test_no_nodes_one_node_and_no_documents() -> None:
    taxonomy = Taxonomy("abc", [("a", "b"), ("b", "c")])
    assert Hierarchy(taxonomy, np.arange(0)).coherent(torch.zeros(2, 0)).shape == (2, 0)
    assert Hierarchy(taxonomy, np.arange(1)).coherent(torch.tensor([[3.0]])).tolist() == [[3.0]]
    assert whole(taxonomy).coherent(torch.zeros(0, 3)).shape == (0, 3)
    assert whole(taxonomy).coherent(torch.tensor([1.0, 2.0, 3.0])).tolist() == [3.0] * 3


def test_rows_are_taken_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fan = Taxonomy([str(i) for i in range(50)], [("0", str(i)) for i in range(1, 50)])
    scores = torch.randn(2, 10, 50, generator=torch.Generator().manual_seed(0))
    rank = torch.randint(3, (10, 50), generator=torch.Generator().manual_seed(1))
    at_once = whole(fan).winners(scores, rank)
    monkeypatch.setattr(module, "ROWS_AT_A_TIME", 3)
    assert torch.equal(whole(fan).winners(scores, rank), at_once)


def test_a_wide_node_takes_few_steps() -> None:
    fan = Taxonomy([str(i) for i in range(1001)], [("0", str(i)) for i in range(1, 1001)])
    assert len(whole(fan)._up.starts) - 1 == 10  # doublings to 1001


@given(dags(), SEEDS)
def test_under_and_chained_follow_the_parents(dag: Dag, seed: int) -> None:
    taxonomy, found = dag.taxonomy, whole(dag.taxonomy)
    scores = scores_of(dag, seed)
    truth, chained = scores > 0, scores.clone()
    for j in range(len(taxonomy)):
        parents = taxonomy.parents.of(j).tolist()
        assert torch.equal(found.under(truth)[:, j], truth[:, parents].all(1))
        if parents:
            chained[:, j] += chained[:, parents].amin(1)
    assert torch.equal(found.chained(scores), chained)
    assert torch.equal(found.chained(scores[None])[0], chained)


def test_everything_moves_and_nothing_is_saved() -> None:
    found = whole(Taxonomy("ab", [("a", "b")]))
    assert not found.state_dict()
    assert {buffer.device.type for buffer in found.to("meta").buffers()} == {"meta"}


# -- trunk -----------------------------------------------------------------------------------------------------


def member_of(trunk: Trunk, member: int) -> nn.Sequential:
    """The same network by torch's own layers."""
    steps: list[nn.Module] = []
    for linear, norm in zip(trunk.linears, trunk.norms, strict=True):
        assert isinstance(linear, BatchedLinear)
        out, width = linear.weight.shape[1:]
        layer = nn.Linear(width, out).double()
        layer.load_state_dict({"weight": linear.weight[member], "bias": linear.bias[member]})
        steps.append(layer)
        state = dict(norm.state_dict())
        if "weight" in state:
            own = nn.LayerNorm(out).double()
            own.load_state_dict({name: value[member, 0] for name, value in state.items()})
            steps.append(own)
        elif state:
            batch = nn.BatchNorm1d(out).double()
            part = slice(member * out, (member + 1) * out)
            state = {name.partition(".")[2]: value for name, value in state.items()}
            batch.load_state_dict({name: value[part] if value.ndim else value for name, value in state.items()})
            steps.append(batch)
        steps.append(nn.ReLU() if trunk.activation == "relu" else nn.GELU())
    return nn.Sequential(*steps)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize(("norm", "activation"), [("none", "relu"), ("layer", "gelu"), ("batch", "relu")])
def test_each_member_is_a_plain_network(members: int, layers: int, norm: Any, activation: Any) -> None:
    torch.manual_seed(0)
    trunk = Trunk(4, members=members, hidden=6, layers=layers, norm=norm, activation=activation).double()
    for parameter in trunk.parameters():
        nn.init.normal_(parameter)
    documents = torch.randn(5, 4, dtype=torch.float64)
    plain = [member_of(trunk, member) for member in range(members)]
    for learning in (True, False):
        hidden = trunk.train(learning)(documents)
        assert hidden.shape == (members if layers else 1, 5, trunk.width_out)
        for member in range(len(hidden)):
            assert torch.allclose(hidden[member], plain[member].train(learning)(documents))


def test_members_start_apart_and_drop_apart() -> None:
    torch.manual_seed(0)
    trunk = Trunk(50, members=2, hidden=200, layers=1, dropout=0.5)
    linear = trunk.linears[0]
    assert isinstance(linear, BatchedLinear)
    assert not torch.equal(linear.weight[0], linear.weight[1])
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.fill_(1.0)
    dropped = trunk(torch.randn(10, 50)) == 0
    assert (dropped[0] != dropped[1]).any()
    assert 0.4 < dropped.double().mean() < 0.6
    assert not (trunk.eval()(torch.randn(10, 50)) == 0).any()


def test_a_member_starts_as_a_linear_layer_does() -> None:
    torch.manual_seed(0)
    ours, theirs = BatchedLinear(2, 100, 300), nn.Linear(100, 300)
    assert ours.weight.abs().max() <= 0.1
    assert ours.weight.std().item() == pytest.approx(theirs.weight.std().item(), rel=0.05)
    assert ours.bias.std().item() == pytest.approx(theirs.bias.std().item(), rel=0.2)


@pytest.mark.parametrize(
    "options",
    [
        {"members": 0},
        {"layers": -1},
        {"layers": 1},
        {"dropout": 1.0},
        {"activation": "tanh"},
        {"norm": "group"},
    ],
)
def test_impossible_trunks_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Trunk(4, **options)
