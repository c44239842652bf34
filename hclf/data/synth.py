"""`synth`: labelled documents for any taxonomy, where there are none yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from hclf.data.documents import Document
from hclf.data.synth_labels import LabelSampler, Pairs
from hclf.data.synth_text import TextMaker, find_style, read_style
from hclf.errors import UsageError
from hclf.taxonomy import Taxonomy


def synth(
    taxonomy: Taxonomy,
    n: int,
    *,
    seed: int = 0,
    style: str = "neutral",
    cooccurrence: str | Pairs = "siblings",
    labels_per_document: float = 1.5,
    internal_share: float = 0.1,
    popularity: float = 1.0,
    templates: str | Path | None = None,
    noise: float = 0.05,
    language: str | None = None,
) -> Iterator[Document]:
    """Return an iterator over n synthetic documents, marked `"synthetic": true`; it draws as it goes.

    Good for trying things out and for checking that a model can learn the taxonomy; not a stand-in for real
    text: what a model scores here says nothing about real documents. Document i is the same for every n.

    Args:
        taxonomy: names and synonyms make the texts, hard excludes rules are kept.
        n: how many.
        seed: another seed, other documents.
        style: "neutral", "clinical" or "product".
        cooccurrence: "none", "siblings", "rules" (pairs of requires, code_first and code_also rules), or a
            mapping (node, node) -> weight.
        labels_per_document: mean number of labels, 1 or more.
        internal_share: how often a label is an internal node, from 0 to 1.
        popularity: exponent of the long tail of node frequencies (Zipf); 0 makes them equal.
        templates: a file of own sentences, in place of the style (see `read_style`).
        noise: share of words with a typo, from 0 to 1; half as many are left out, half as many put in.
        language: of names and synonyms; None takes the names the taxonomy shows.

    Raises:
        UsageError: an impossible option, or a taxonomy without assignable nodes.
        UnknownNodeError: a pair names an unknown node.
        DataError: the templates cannot be used.

    >>> t = Taxonomy(["food", "rice"], [("food", "rice")])
    >>> [d.labels for d in synth(t, 2, internal_share=0)]
    [('rice',), ('rice',)]
    """
    if n < 0:
        raise UsageError(f"n must be 0 or more, not {n}")
    sampler = LabelSampler(
        taxonomy,
        cooccurrence=cooccurrence,
        labels_per_document=labels_per_document,
        internal_share=internal_share,
        popularity=popularity,
        seed=seed,
    )
    chosen = read_style(templates) if templates else find_style(style)
    maker = TextMaker(taxonomy, chosen, noise=noise, language=language)
    return (_document(taxonomy, sampler, maker, seed, number) for number in range(1, n + 1))


def _document(taxonomy: Taxonomy, sampler: LabelSampler, maker: TextMaker, seed: int, number: int) -> Document:
    random = Random(f"{seed} {number}")
    labels = sampler.draw(random)

    def other() -> int | None:
        node = sampler.draw(random)[0]
        return node if sampler.unrelated(node, labels) else None

    text, spans = maker.write(labels, random, other)
    return Document(
        id=f"synth-{number:06}",
        fields={"text": text},
        labels=tuple(taxonomy.nodes[j] for j in labels),
        extra={"synthetic": True},
        row=number,
        spans=tuple(spans),
    )
