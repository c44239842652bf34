"""What the command line says of language models that are asked by prompt, and `hclf templates`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hclf.cli import options as opt
from hclf.cli.common import guard_output, note, stdout
from hclf.errors import UsageError

if TYPE_CHECKING:
    from hclf.classifier import HierarchicalClassifier
    from hclf.data import Document

SHOWN = 2  # documents whose prompts a dry run prints


def print_prompts(model: HierarchicalClassifier, documents: Iterable[Document]) -> None:
    """Print what the first documents would be asked, and about how much there is to ask in all.

    Raises:
        UsageError: the model asks no language model.
    """
    scorer = _asking(model)
    if scorer is None:
        raise UsageError(f"--dry-run shows the prompts of a language model; this model is {model.scorer!r}")
    count = tokens = 0
    for document in documents:
        prompts = scorer.preview([document.fields])[0]
        tokens += sum(map(scorer.engine.tokens, prompts)) / max(len(prompts), 1)
        count += 1
        if count <= SHOWN:
            for number, prompt in enumerate(prompts, start=1):
                stdout.rule(f"{document.id}, prompt {number}", style="dim")
                stdout.print(f"{prompt.system}\n\n{prompt.user}", highlight=False, markup=False)
    each, basis = _prompts_each(model, scorer)
    note(
        f"{count:,} documents, about {each:.1f} prompts each ({basis}): about {each * count:,.0f} prompts and "
        f"{each * tokens:,.0f} tokens; nothing was asked"
    )


def say_where(model: HierarchicalClassifier) -> None:
    """Say which server documents are sent to, if they are: a model from somewhere else may name any."""
    scorer = _asking(model)
    if scorer is not None and (url := getattr(scorer.engine, "base_url", "")):
        note(f"documents are sent to {url}")


def say_usage(model: HierarchicalClassifier) -> None:
    """Say what language models were asked, if any were."""
    scorer = _asking(model)
    if scorer is not None:
        note(f"prompt: {usage_in_words(scorer.report)}")


def usage_in_words(report: Mapping[str, Any]) -> str:
    """Say what a language model was asked."""
    parts = [f"{report['prompts']:,} prompts about {report['documents']:,} documents"]
    parts.append(f"{report['calls']:,} calls, {report['cached']:,} answers from the cache")
    parts.append(f"{report['tokens_in']:,} tokens read and {report['tokens_out']:,} written")
    if report.get("cost"):
        parts.append(f"cost {report['cost']:,.2f}")
    troubles = {
        "retries": "calls made again",
        "unreadable": "answers without a code",
        "invented": "codes that were not offered",
        "long_documents": "documents shown without their middle",
    }
    parts += [f"{report[name]:,} {what}" for name, what in troubles.items() if report.get(name)]
    return "; ".join(parts)


def templates(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write them.")],
    force: opt.Force = False,
) -> None:
    """Write the templates of prompts, to edit and to use with `hclf train --scorer prompt --templates FOLDER`.

    Example: hclf templates prompts
    """
    from hclf.scorers.prompt.wording import SUFFIX, read_templates

    guard_output(folder, force)
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in read_templates().items():
        (folder / f"{name}{SUFFIX}").write_text(source, encoding="utf-8")
        note(f"{folder / name}{SUFFIX}")


def _asking(model: HierarchicalClassifier) -> Any:
    """Return the scorer of a model, or the part of it, that asks a language model; None: there is none."""
    scorer: Any = model.scorer_
    parts = [scorer, *getattr(scorer, "parts", {}).values()]
    return next((part for part in parts if hasattr(part, "preview")), None)


def _prompts_each(model: HierarchicalClassifier, scorer: Any) -> tuple[float, str]:
    """Return about how many prompts a document takes, and how that is known."""
    told = model.report_["scorers"].get("prompt", {})
    if told.get("documents"):
        return told["prompts"] / told["documents"], "as when it was calibrated"
    return scorer.prompts_of_a_path, "one path each, to a leaf"
