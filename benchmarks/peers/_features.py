"""The scikit-learn text features of the runners that bring none of their own."""

from __future__ import annotations

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion


def word_and_char() -> FeatureUnion:
    """Words 1–2 and characters 3–5 within words; character sequences seen once are dropped."""
    common = {"sublinear_tf": True, "dtype": np.float32}
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **common)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=2, **common)
    return FeatureUnion([("word", words), ("char", characters)])


def word() -> TfidfVectorizer:
    """Words 1–2."""
    return TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True, dtype=np.float32)


FEATURES = {"word": word, "word+char": word_and_char}
