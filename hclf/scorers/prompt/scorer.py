"""The prompt scorer: a language model is asked, level by level, which nodes a document belongs to.

    documents -> tidy -> questions, page by page -> engine -> answers -> share and standing of every node

It learns nothing: what its answers are worth is learned by the calibration, as for every scorer. Labelled documents
can be shown as examples (`shots`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.errors import UsageError, did_you_mean, suggest
from hclf.inputs import Inputs, length
from hclf.scorers.base import Progress, Scored, silent
from hclf.scorers.packing import prefixed, unprefixed
from hclf.scorers.prompt.base import Engine, Prompt
from hclf.scorers.prompt.descent import Descent
from hclf.scorers.prompt.engines import OF_A_SERVER, OF_THIS_MACHINE, make_engine
from hclf.scorers.prompt.examples import Examples, whole_hash
from hclf.scorers.prompt.outline import TOP, Outline, Page, Pager
from hclf.scorers.prompt.wording import Wording, read_templates, tidy
from hclf.taxonomy import Taxonomy

Floats = NDArray[np.float32]

MODES = ("levels", "single")
MOST_OPTIONS = 999  # of a page
LEAST = 1e-6  # probability; log-odds stay finite
OF_THE_ENGINE = ("model", "base_url", *OF_THIS_MACHINE, *OF_A_SERVER, "seed")
AT_LEAST = {"page_size": 1, "page_characters": 0, "max_characters": 20, "shots": 0, "open_at": 0, "most_open": 1}


class Prompts:
    """Makes the questions of some documents.

    Args:
        wording: makes prompts.
        documents: named text fields.
        most: characters of a document that are shown.
        examples: to choose from; None: none are shown.
        shots: how many of them.

    Attributes:
        cut: documents that are too long to be shown whole.
    """

    def __init__(
        self,
        wording: Wording,
        documents: Sequence[Mapping[str, str]],
        most: int,
        examples: Examples | None = None,
        shots: int = 0,
    ) -> None:
        self.wording, self.examples, self.shots = wording, examples, shots
        shown = [tidy(fields, most) for fields in documents]
        self.texts = [text for text, _ in shown]
        self.cut = sum(cut for _, cut in shown)
        self._hashes = [whole_hash(fields) for fields in documents] if examples else []
        self._features = examples.features(self.texts) if examples and self.texts else None

    def __call__(self, document: int | str, page: Page) -> Prompt:
        """Return the question about a page for a document, by its number, or for a text."""
        if isinstance(document, str):
            return self.wording.prompt(page, document)
        chosen = []
        if self.examples is not None and self._features is not None:
            chosen = self.examples.choose(self._features[document], self._hashes[document], page, self.shots)
        return self.wording.prompt(page, self.texts[document], chosen)


class PromptScorer:
    """Asks a language model which nodes a document belongs to: on this machine, or behind a server.

    What is asked of a document depends on that document alone. The engine's answers may not: servers are free to
    round otherwise from one call to the next.

    Args:
        model: folder of a causal language model, or its name: on the hub, or with `base_url` on that server.
        base_url: of an OpenAI-compatible server, such as `http://localhost:8080/v1`; "": the model runs here.
        mode: `levels`: the children of open nodes, level by level; `single`: all nodes in one prompt.
        page_size: options of a prompt, at most; more are asked about in several. Up to 25 are called by letters.
        page_characters: of the options of a prompt; descriptions are left out where they do not fit.
        max_characters: of a document; of longer ones the middle is left out, and the report counts them.
        shots: labelled documents shown in each prompt, the most similar ones; saved models then hold texts.
        open_at: how likely a node has to be, against the likeliest answer, for its children to be asked about.
        most_open: nodes of a level whose children are asked about, per document.
        correct_bias: whether the probability of a code is set against that without a document (Zhao et al., 2021);
            only where the engine gives probabilities.
        instructions: to the model, about the task, in a sentence or two.
        templates: folder with `system.jinja` or `question.jinja` to use instead of the shipped ones.
        most_held_out: labelled documents that are asked about to calibrate answers, at most.
        device, precision, quantize, batch_tokens: of a model that runs here; see `LocalEngine`.
        answers, samples, temperature, timeout, retries, concurrency, max_tokens, cache, price: of a server; see
            `ServerEngine`.
        n_jobs: has no effect.
        seed: of the choice of examples, and of the server's sampling where it takes one.

    Attributes:
        columns: all nodes.
    """

    name: ClassVar[str] = "prompt"
    channels: ClassVar[tuple[str, ...]] = ("log_odds", "standing")
    candidate_channels: ClassVar[tuple[str, ...]] = ()
    learns_without_documents: ClassVar[bool] = True
    batch_documents: ClassVar[int] = 64
    own_threads: ClassVar[bool] = True

    def __init__(
        self,
        *,
        model: str | Path = "",
        base_url: str = "",
        mode: str = "levels",
        page_size: int | None = None,
        page_characters: int = 4_000,
        max_characters: int = 6_000,
        shots: int = 0,
        open_at: float = 0.25,
        most_open: int = 16,
        correct_bias: bool = True,
        instructions: str = "",
        templates: str | Path | None = None,
        most_held_out: int = 200,
        device: str | None = None,
        precision: str | None = None,
        quantize: str | None = None,
        batch_tokens: int | None = None,
        answers: str | None = None,
        samples: int | None = None,
        temperature: float | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        concurrency: int | None = None,
        max_tokens: int | None = None,
        cache: str | bool | None = None,
        price: Sequence[float] | None = None,
        n_jobs: int | None = None,
        seed: int = 0,
    ) -> None:
        if not str(model):
            raise UsageError("scorer 'prompt' needs a model: its folder, or its name on a server (--base-url URL)")
        if mode not in MODES:
            raise UsageError(f"mode is {' or '.join(MODES)}, not {mode!r}{did_you_mean(suggest(mode, MODES))}")
        page_size = page_size or (MOST_OPTIONS if mode == "single" else 25)
        self.options: dict[str, Any] = {k: v for k, v in locals().items() if k != "self"}
        _check(self.options)
        self.options |= {"model": str(model), "templates": None if templates is None else str(templates)}
        self.seed, self.most_held_out = seed, most_held_out
        self._templates = read_templates(templates)
        self._cut = 0

    @property
    def learns_nothing(self) -> bool:
        """Whether all documents may calibrate it: it shows none of them as examples."""
        return not self.options["shots"]

    def fit(
        self,
        inputs: Inputs,
        Y: csr_matrix[Any],
        *,
        taxonomy: Taxonomy,
        unknown: csr_matrix[Any] | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Read the taxonomy, and keep documents to show as examples; nothing is asked yet.

        Raises:
            UsageError: a feature matrix; a template that is wrong; more nodes than fit into one prompt.
        """
        if isinstance(inputs, csr_matrix) and inputs.shape[0]:
            raise UsageError("scorer 'prompt' shows texts to a language model; for a feature matrix take another")
        self.outline = Outline.of(taxonomy)
        if self.options["mode"] == "single" and len(taxonomy) > self.options["page_size"]:
            raise UsageError(
                f"{len(taxonomy):,} nodes do not fit into one prompt of {self.options['page_size']}; mode='levels' "
                "asks about a few at a time"
            )
        documents = [] if isinstance(inputs, csr_matrix) else inputs
        shown = self.options["shots"] and len(documents)
        self.examples = Examples.of(documents, Y, taxonomy, self.seed) if shown else None
        self._ready()
        return self

    def _ready(self) -> None:
        """Make what is needed to ask; a mistake in a template is better found now."""
        self.columns = self.known = np.arange(len(self.outline), dtype=np.int64)
        wanted = ("mode", "instructions", "page_characters")
        self.wording = Wording(self.outline, self._templates, **{name: self.options[name] for name in wanted})
        self.pager = Pager(self.outline, self.options["page_size"], whole=self.options["mode"] == "single")
        for page in self.pager.pages(TOP)[:1]:
            self.wording.prompt(page, "")

    @cached_property
    def engine(self) -> Engine:
        """What answers: made when the first question is asked."""
        return make_engine(**{name: self.options[name] for name in OF_THE_ENGINE})

    @cached_property
    def descent(self) -> Descent:
        """What asks."""
        wanted = ("open_at", "most_open", "correct_bias")
        return Descent(self.pager, self.engine, **{name: self.options[name] for name in wanted})

    def score(self, inputs: Inputs) -> Scored:
        """Ask about documents; return (2, documents, nodes).

        Raises:
            UsageError: a feature matrix.
            HclfError: the model or its server cannot be used, or a document does not fit into it.
        """
        if isinstance(inputs, csr_matrix):
            raise UsageError("the model reads texts; what came is a feature matrix")
        prompts = self._prompts(inputs)
        said = np.flatnonzero([bool(text) for text in prompts.texts])  # of others nothing can be seen

        def ask(document: int | str, page: Page) -> Prompt:
            return prompts(document if isinstance(document, str) else int(said[document]), page)

        found = self.descent.run(len(said), ask)
        self.engine.usage.add(documents=len(said), prompts=int(found.asked.sum()))
        out = np.full(
            (2, length(inputs), len(self.columns)), _log_odds(np.zeros(1, dtype=np.float32)), dtype=np.float32
        )
        out[0, said], out[1, said] = _log_odds(found.share), _log_odds(found.standing)
        return Scored(out)

    def _prompts(self, documents: Sequence[Mapping[str, str]]) -> Prompts:
        prompts = Prompts(
            self.wording, documents, self.options["max_characters"], self.examples, self.options["shots"]
        )
        self._cut += prompts.cut
        return prompts

    def preview(self, inputs: Sequence[Mapping[str, str]]) -> list[list[Prompt]]:
        """Return the prompts that each document begins with, without asking anything."""
        prompts = self._prompts(inputs)
        return [[prompts(i, page) for page in self.pager.pages(TOP)] for i in range(len(inputs))]

    @property
    def prompts_of_a_path(self) -> float:
        """How many prompts it takes to follow one path, on average over the leaves."""
        if self.pager.whole:
            return float(len(self.pager.pages(TOP)))
        outline = self.outline
        below = np.array([len(self.pager.pages(column)) for column in range(len(outline))])
        total = np.zeros(len(outline))
        for column in range(len(outline)):
            above = outline.parents.of(column)
            total[column] = (total[above[0]] if len(above) else len(self.pager.pages(TOP))) + below[column]
        return float(total[below == 0].mean()) if len(outline) else 0.0

    @property
    def report(self) -> dict[str, Any]:
        """What has been asked so far, as plain values."""
        usage = self.engine.usage
        return {
            "model": self.options["model"],
            "base_url": self.options["base_url"],
            **usage.to_dict(),
            "cost": getattr(self.engine, "cost", None),
            "long_documents": self._cut,
        }

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return options, templates, what is shown of the taxonomy, and examples; not the language model."""
        kept = {name: value for name, value in self.options.items() if name not in ("n_jobs", "templates")}
        config: dict[str, Any] = {
            "options": kept,
            "templates": self._templates,
            "outline": self.outline.to_dict(),
            "examples": None,
        }
        arrays: dict[str, NDArray[Any]] = {"columns": self.columns}
        if self.examples is not None:
            config["examples"], own = self.examples.get_state()
            arrays |= prefixed("examples", own)
        return config, arrays

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build a fitted scorer from what `get_state` returned; the model is loaded when something is asked."""
        scorer = cls(**config["options"])
        scorer._templates, scorer.outline = dict(config["templates"]), Outline.from_dict(config["outline"])
        texts = config["examples"]
        scorer.examples = None if texts is None else Examples.from_state(texts, unprefixed("examples", arrays))
        scorer._ready()
        return scorer


def _log_odds(probability: Floats) -> Floats:
    """Return log-odds, none beyond those of `LEAST` on either side."""
    bounded = np.clip(probability.astype(np.float64), LEAST, 1 - LEAST)
    return np.asarray(np.log(bounded) - np.log1p(-bounded), dtype=np.float32)


def _check(options: Mapping[str, Any]) -> None:
    """Refuse options that cannot be."""
    for name, least in AT_LEAST.items():
        value = options[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
            raise UsageError(f"{name} is at least {least}, not {value!r}")
    if options["page_size"] > MOST_OPTIONS:
        raise UsageError(f"page_size is at most {MOST_OPTIONS}, not {options['page_size']}")
    if options["open_at"] > 1:
        raise UsageError(f"open_at is a probability, not {options['open_at']}")
