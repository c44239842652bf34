"""What people pass as X."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from hclf.classifier import HierarchicalClassifier
from hclf.errors import DataError, UsageError
from hclf.inputs import as_inputs
from hclf.taxonomy import Taxonomy


class Frame:
    """As much of a pandas DataFrame as is looked at."""

    def __init__(self, **columns: list[Any]) -> None:
        self.columns = list(columns)
        self._columns = columns
        self.dtypes = [
            np.array(values).dtype if not isinstance(values[0], str) else "object" for values in columns.values()
        ]

    def to_dict(self, kind: str) -> list[dict[str, Any]]:
        assert kind == "records"
        return [dict(zip(self._columns, row, strict=True)) for row in zip(*self._columns.values(), strict=True)]

    def to_numpy(self, dtype: type) -> np.ndarray:
        return np.array(list(self._columns.values()), dtype=dtype).T


def test_a_frame_of_numbers_is_a_feature_matrix() -> None:
    inputs = as_inputs(Frame(a=[1, 2], b=[0.5, np.nan]))
    assert isinstance(inputs, csr_matrix)
    assert np.array_equal(inputs.toarray(), [[1, 0.5], [2, np.nan]], equal_nan=True)


def test_a_frame_with_text_is_documents_of_its_text_columns() -> None:
    assert as_inputs(Frame(title=["Oat milk", "Rice"], price=[1.2, 3.4])) == [
        {"title": "Oat milk"},
        {"title": "Rice"},
    ]


@pytest.mark.parametrize("wrap", [np.array, csr_matrix])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_features_are_refused(wrap: Any, value: float) -> None:
    with pytest.raises(UsageError, match="infinite"):
        as_inputs(wrap([[1.0, value]]))


def test_an_unknown_label_is_placed_and_corrected() -> None:
    model = HierarchicalClassifier(taxonomy=Taxonomy(["cats", "dogs"]))
    with pytest.raises(DataError, match=r"row 2: unknown label 'dgos'; did you mean 'dogs'"):
        model.fit(["x", "y"], [["cats"], ["dgos"]])


def test_the_report_counts_what_taught_nothing() -> None:
    model = HierarchicalClassifier(taxonomy=Taxonomy(["cats", "dogs"]), n_jobs=1)
    model.fit(["a cat", "a dog", "", "neither"] * 3, [["cats"], ["dogs"], ["cats"], []] * 3)
    assert model.report_["empty_texts"] == 3
    assert model.report_["documents_without_labels"] == 3
