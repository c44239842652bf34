"""Feature matrices made ready, against scikit-learn's imputer, encoder and scaler."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from hclf.errors import UsageError
from hclf.scorers.numbers import FARTHEST, NumberColumns

NAN = np.nan


def random_matrix(
    seed: int, *, n: int = 40, missing: float = 0.1, codes: bool = False, density: float = 1
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6)) * [1, 10, 1e-3, 1e6, 1, 1] + [0, 5, 0, -1e6, 1e3, 0]
    X[rng.random(X.shape) > density] = 0
    if codes:
        X[:, [1, 4]] = rng.integers(0, 4, size=(n, 2)) * 7 - 3
    missing_at = rng.random(X.shape) < missing
    missing_at[0] = False  # no column is all missing
    return np.where(missing_at, NAN, X)


def slow(train: np.ndarray, new: np.ndarray, nominal: list[int]) -> np.ndarray:
    """What `NumberColumns` promises of a dense matrix, column by column."""
    others = [j for j in range(train.shape[1]) if j not in nominal]
    parts = [(train[:, [j]], new[:, [j]]) for j in others]
    for j in nominal:
        for code in sorted(set(train[~np.isnan(train[:, j]), j].tolist())):
            parts.append(tuple(np.where(np.isnan(X[:, [j]]), NAN, X[:, [j]] == code) for X in (train, new)))
    columns = []
    for old, fresh in parts:
        imputer = SimpleImputer().fit(old)
        scaler = StandardScaler().fit(imputer.transform(old))
        columns.append(scaler.transform(imputer.transform(fresh)))
    # Imputed rows count in scikit-learn's deviation, not in ours: a mean told twice is no measurement.
    known = [np.sqrt((~np.isnan(old)).mean()) for old, _ in parts]
    return np.concatenate(columns, axis=1) * known


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([[], [1], [4, 1]]))
def test_a_dense_matrix_against_scikit_learn(seed: int, missing: float, nominal: list[int]) -> None:
    train, new = (random_matrix(seed + i, missing=missing, codes=bool(nominal)) for i in (0, 1))
    numbers = NumberColumns(nominal=nominal).fit(csr_matrix(train))
    found = numbers.transform(csr_matrix(new))
    assert (found.dtype, found.shape) == (np.float32, (len(new), numbers.width))
    assert numbers.centred
    assert found == pytest.approx(slow(train, new, sorted(nominal)), abs=1e-4)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([[], [1]]))
def test_a_matrix_of_zeros_is_scaled_without_centring(seed: int, nominal: list[int]) -> None:
    train = random_matrix(seed, n=60, density=0.1, missing=0.02, codes=False)
    numbers = NumberColumns(nominal=nominal).fit(csr_matrix(train))
    assert not numbers.centred
    rows, sparse = numbers.transform(csr_matrix(train)), numbers.sparse(csr_matrix(train))
    assert np.array_equal(rows, sparse.toarray())
    others = np.setdiff1d(np.arange(6), nominal)
    kept = train[:, others]
    assert (rows[:, : len(others)][kept == 0] == 0).all()
    filled = np.where(np.isnan(kept), np.nanmean(kept, axis=0), kept)
    root_mean_square = np.sqrt(np.nansum(kept**2, axis=0) / (~np.isnan(kept)).sum(axis=0))
    expected = np.divide(filled, root_mean_square, out=np.zeros_like(filled), where=root_mean_square > 0)
    assert rows[:, : len(others)] == pytest.approx(expected, rel=1e-5)


def test_what_a_missing_and_an_unseen_code_become() -> None:
    X = csr_matrix(np.array([[7.0, 1], [7, 1], [9, 1], [NAN, 1]]))
    numbers = NumberColumns(nominal=[0]).fit(X)
    new = csr_matrix(np.array([[NAN, 1], [8, 1], [9, 1], [7, 1]]))
    missing, unseen, nine, seven = numbers.transform(new)[:, 1:].tolist()
    assert missing == [0, 0]  # the share of each code, in deviations from the mean
    assert unseen[0] == pytest.approx(nine[0])  # not a 7 ...
    assert unseen[1] == pytest.approx(seven[1])  # ... and not a 9


def test_a_constant_column_becomes_zero_and_a_wild_value_is_cut_off() -> None:
    X = np.stack([np.full(50, 0.1), np.full(50, 1e9), np.full(50, NAN), np.arange(50.0)], axis=1)
    numbers = NumberColumns().fit(csr_matrix(X))
    assert (numbers.transform(csr_matrix(X))[:, :3] == 0).all()
    wild = numbers.transform(csr_matrix([[1e300, -1e300, 5, -1e300], [0, 0, NAN, 1e30]]))
    assert wild.tolist() == [[0, 0, 0, -FARTHEST], [0, 0, 0, FARTHEST]]


def test_means_far_from_zero_lose_no_digits() -> None:
    small = np.random.default_rng(0).normal(size=(50, 3))
    shifted, plain = (NumberColumns().fit(csr_matrix(X)).transform(csr_matrix(X)) for X in (small + 1e9, small))
    assert shifted == pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("density", [0.1, 1])
@pytest.mark.parametrize("nominal", [[], [1, 4]])
def test_rows_stand_alone_and_survive_saving(density: float, nominal: list[int], tmp_path: Path) -> None:
    train, new = (csr_matrix(random_matrix(i, density=density, codes=True)) for i in (0, 1))
    before = new.toarray()
    numbers = NumberColumns(nominal=nominal).fit(train)
    rows = numbers.transform(new)
    assert np.array_equal(before, new.toarray(), equal_nan=True)
    assert all(np.array_equal(numbers.transform(new[i]), rows[[i]]) for i in range(len(before)))
    config, arrays = numbers.get_state()
    np.savez(tmp_path / "numbers.npz", **arrays)
    with np.load(tmp_path / "numbers.npz", allow_pickle=False) as found:
        again = NumberColumns.from_state(json.loads(json.dumps(config)), dict(found))
    assert (again.width, again.centred) == (numbers.width, numbers.centred)
    assert np.array_equal(again.transform(new), rows)
    assert numbers.transform(new[:0]).shape == (0, numbers.width)


def test_wrong_calls_are_refused() -> None:
    X = csr_matrix(random_matrix(0))
    for column in (6, -1):
        with pytest.raises(UsageError, match=f"nominal column {column} does not exist: the matrix has 6 features"):
            NumberColumns(nominal=[0, column]).fit(X)
    numbers = NumberColumns().fit(X)
    with pytest.raises(UsageError, match="5 features, the model was fitted on 6"):
        numbers.transform(X[:, :5])
    with pytest.raises(UsageError, match="few zeros"):
        numbers.sparse(X)
