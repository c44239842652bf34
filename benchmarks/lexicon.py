"""How fast phrases are found, what each way of finding them brings, and what coders do with what is denied.

    python benchmarks/lexicon.py                 # writes results/lexicon.md
    python benchmarks/lexicon.py --show 12       # matches of each kind and flag, row by row

One process, one thread. Phrases and texts are those of the data folder; what coders do is measured on the training
part of CodiEsp only.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import multiprocessing
import platform
import resource
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray
from sets import DATA, ROOT

from hclf.scorers.lexicon.automaton import ACROSS, GAPPED, REORDERED, TYPO, Matches, PhraseFinder
from hclf.scorers.lexicon.context import FLAGS, Context
from hclf.scorers.lexicon.folding import Folding, available, load
from hclf.scorers.lexicon.text import split

OUT = ROOT / "benchmarks" / "results" / "lexicon.md"
RUNS = 3
KINDS = {
    "exact": 0,
    "another order": REORDERED,
    "words between": GAPPED,
    "both": REORDERED | GAPPED,
    "exact, across a comma": ACROSS,
    "another order, across a comma": REORDERED | ACROSS,
}
WAYS: dict[str, dict[str, Any]] = {
    "as listed, in order": {"variants": False, "reorder": False, "gap": 0, "typos": False},
    "+ variants": {"reorder": False, "gap": 0, "typos": False},
    "+ any order": {"gap": 0, "typos": False},
    "+ one word between": {"gap": 1, "typos": False},
    "+ two words between": {"typos": False},
    "+ typos (the default)": {},
}


# -- data ------------------------------------------------------------------------------------------------------


def _lines(*path: str) -> Iterator[str]:
    with gzip.open(DATA.joinpath(*path), "rt", encoding="utf-8") as file:
        yield from file


@cache
def notes(part: str) -> list[dict[str, Any]]:
    """Return the documents of a part of CodiEsp."""
    return [json.loads(line) for line in _lines("codiesp", f"{part}.jsonl.gz")]


def icd_phrases() -> Iterator[tuple[str, str]]:
    """Yield (phrase, code): names and inclusion terms of FY2021, paths of the FY2025 index."""
    for line in _lines("icd10cm", "fy2021", "icd10cm-order-Jan-2021.txt.gz"):
        yield line[77:].strip(), line[6:13].strip()
    with gzip.open(DATA / "icd10cm" / "fy2021" / "icd10cm_tabular_2021.xml.gz") as file:
        for node in ET.parse(file).iter("diag"):
            for term in node.iterfind("inclusionTerm/note"):
                yield term.text or "", node.findtext("name", "").replace(".", "")
    path: list[str] = []
    for row in csv.DictReader(_lines("icd10cm", "fy2025", "ICD10CM_2025_Index.csv.gz")):
        path = [*path[: int(row["Level"])], row["Term"]]
        if row["Code"]:
            yield f"{', '.join(path)} {row['NonEssModif']}".strip(), row["Code"].replace(".", "").strip("-")


def mentions() -> Iterator[str]:
    """Yield what coders marked in the training part."""
    return (m["text"] for note in notes("train") for m in note["mentions"] if m["kind"] == "diagnosis")


def catalogue_phrases() -> Iterator[str]:
    """Yield names and synonyms of product categories in many languages."""
    with gzip.open(DATA / "openfoodfacts" / "categories.full.json.gz", "rt", encoding="utf-8") as file:
        for category in json.load(file).values():
            yield from filter(None, category.get("name", {}).values())
            yield from (text for texts in category.get("synonyms", {}).values() for text in texts if text)
    for file_name in sorted((DATA / "shopify_taxonomy").glob("categories_*.txt.gz")):
        for line in _lines("shopify_taxonomy", file_name.name):
            if line.startswith("gid:"):
                yield line.rpartition(" > ")[2].rpartition(" : ")[2].strip()


PHRASES: dict[str, Callable[[], Iterable[str]]] = {
    "mentions of CodiEsp": mentions,
    "ICD-10-CM and mentions": lambda: [*(text for text, _ in icd_phrases()), *mentions()],
    "the same and product categories": lambda: [
        *(text for text, _ in icd_phrases()),
        *mentions(),
        *catalogue_phrases(),
    ],
}


def products() -> list[str]:
    """Return the texts of products, a field a line."""
    items = (json.loads(line) for line in _lines("openfoodfacts", "items.jsonl.gz"))
    return ["\n".join(item[name] for name in ("title", "brand", "description", "ingredients")) for item in items]


TEXTS: dict[str, Callable[[], list[str]]] = {
    "Spanish notes": lambda: [note["text_es"] for part in ("train", "dev") for note in notes(part)],
    "English notes": lambda: [note["text_en"] for part in ("train", "dev") for note in notes(part)],
    "products": products,
}


# -- speed -----------------------------------------------------------------------------------------------------


class Timing(NamedTuple):
    """Of one set of phrases: how many, seconds to build, MB of memory and of state, and MB/s by text."""

    phrases: int
    variants: int
    build: float
    peak: float
    state: float
    speeds: dict[str, tuple[float, float, float, int]]


def megabytes(texts: Sequence[str]) -> float:
    """Return the size in UTF-8."""
    return sum(len(text.encode()) for text in texts) / 1e6


def seconds(work: Callable[[], Any], runs: int = RUNS) -> float:
    """Return the median time of some runs."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def timed(name: str) -> Timing:
    """Return how fast one set of phrases is found: the first time, once words are known, and with context."""
    phrases = list(dict.fromkeys(PHRASES[name]()))
    began = time.perf_counter()
    finder = PhraseFinder(phrases)
    build = time.perf_counter() - began
    config, arrays = finder.get_state()
    state = (sum(array.nbytes for array in arrays.values()) + len(json.dumps(config))) / 1e6
    context = Context()
    speeds = {}
    for title, read in TEXTS.items():
        texts = read()
        size = megabytes(texts)
        first = seconds(lambda texts=texts: finder.find(texts), 1)
        found = finder.find(texts)
        again = seconds(lambda texts=texts: finder.find(texts))
        marks = seconds(lambda texts=texts, m=found: context.mark(texts, m.rows, m.starts, m.ends))
        speeds[title] = (size / first, size / again, size / (again + marks), len(found.rows))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return Timing(len(phrases), len(finder.variants.phrase), build, peak, state, speeds)


def speed_section() -> str:
    """Return the table of speeds; each set of phrases has a process of its own."""
    rows = []
    for name in PHRASES:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            one = pool.apply(timed, (name,))
        for title, (first, again, marked, count) in one.speeds.items():
            rows.append(
                f"| {name} | {one.phrases:,} | {one.variants:,} | {one.build:.1f} | {one.peak:,.0f} "
                f"| {one.state:.1f} | {title} | {first:.1f} | {again:.1f} | {marked:.1f} | {count:,} |"
            )
    head = (
        "| phrases | different | variants | s to build | peak MB | state MB | texts | MB/s, first | MB/s, again "
        "| with context | matches |\n|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|"
    )
    return "\n".join([head, *rows])


def ways_section() -> str:
    """Return the table of what each way of finding costs and finds, on Spanish notes."""
    phrases = list(dict.fromkeys(PHRASES["ICD-10-CM and mentions"]()))
    texts = TEXTS["Spanish notes"]() + TEXTS["English notes"]()
    rows = []
    for name, options in WAYS.items():
        finder = PhraseFinder(phrases, **options)
        count = len(finder.find(texts).rows)
        speed = megabytes(texts) / seconds(lambda finder=finder: finder.find(texts))
        rows.append(f"| {name} | {count:,} | {speed:.1f} |")
    return "\n".join(["| ways | matches | MB/s |", "|---|---:|---:|", *rows])


# -- what coders do --------------------------------------------------------------------------------------------


class Judged(NamedTuple):
    """Matches in texts, and whether coders agree with each."""

    title: str
    texts: list[str]
    matches: Matches
    right: NDArray[np.bool_]
    same_code: NDArray[np.bool_] | None = None


def judged_spanish() -> Judged:
    """Return matches of mentions marked in another document; right: coders marked a part of it."""
    documents = notes("train")
    texts = [note["text_es"] for note in documents]
    codes: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    marked: list[list[tuple[int, int, str]]] = [[] for _ in documents]
    for row, note in enumerate(documents):
        for mention in note["mentions"]:
            if mention["kind"] == "diagnosis":
                codes[mention["text"].casefold()][row].add(mention["code"])
                marked[row] += [(start, end, mention["code"]) for start, end in mention["spans"]]
    phrases = list(codes)
    found = PhraseFinder(phrases, known_words=_usual_words(texts)).find(texts)
    found = found.take(np.array([bool(codes[phrases[p]].keys() - {row}) for row, p in _pairs(found)]))
    right, same = [], []
    columns = (column.tolist() for column in found[:4])
    for row, start, end, p in zip(*columns, strict=True):
        here = {code for a, b, code in marked[row] if a < end and start < b}
        elsewhere = set().union(*(some for other, some in codes[phrases[p]].items() if other != row))
        right.append(bool(here))
        same.append(bool(here & elsewhere))
    return Judged("Spanish, span marked by coders", texts, found, np.array(right), np.array(same))


def judged_english(text: str = "text_en", languages: Sequence[str] | None = None, **options: Any) -> Judged:
    """Return matches of ICD-10-CM's phrases; right: the document has a code of the phrase's category."""
    documents = notes("train")
    texts = [note[text] for note in documents]
    categories = icd_categories()
    phrases = list(categories)
    finder = PhraseFinder(phrases, languages=languages, known_words=_usual_words(texts), **options)
    found = finder.find(texts)
    codes = [{code[:3] for code in note["diagnoses"]} for note in documents]
    right = np.array([bool(codes[row] & categories[phrases[p]]) for row, p in _pairs(found)])
    return Judged("English, category assigned", texts, found, right)


@cache
def icd_categories() -> dict[str, set[str]]:
    """Return the categories of each phrase of ICD-10-CM."""
    categories = defaultdict(set)
    for text, code in icd_phrases():
        categories[text].add(code[:3])
    return categories


def languages_section() -> str:
    """Return the table of what English phrases find in notes of both languages."""
    categories = icd_categories()
    phrases = list(categories)
    codes = [{code[:3] for code in note["diagnoses"]} for note in notes("train")]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        plain = [_without(language, ("alike", "equal"), Path(folder)) for language in available()]
        for title, text in (("Spanish", "text_es"), ("English", "text_en")):
            for how, languages in (("plain", plain), ("as shipped", None)):
                one = judged_english(text, languages, typos=False)
                reached = {(row, c) for row, p in _pairs(one.matches) for c in categories[phrases[p]] & codes[row]}
                share = len(reached) / sum(map(len, codes))
                rows.append(f"| {title} | {how} | {len(one.right):,} | {one.right.mean():.3f} | {share:.3f} |")
    head = "| notes | folding | matches | right | categories reached |\n|---|---|---:|---:|---:|"
    return "\n".join([head, *rows])


def _without(language: str, sections: Sequence[str], folder: Path) -> str:
    """Return the path of a language's file that lacks some sections."""
    file = folder / f"{language}.yaml"
    content = {name: value for name, value in load(language).items() if name not in sections}
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return str(file)


def _usual_words(texts: Sequence[str], least: int = 3) -> list[str]:
    """Return the words of several texts, in any form: none of them is a typo."""
    fold = Folding().fold
    counts: Counter[str] = Counter()
    written = {}
    for text in texts:
        forms = {fold(word): word for word in split([text]).surfaces}
        counts.update(forms.keys())
        written.update(forms)
    return [written[form] for form, count in counts.items() if count >= least]


def _pairs(found: Matches) -> Iterator[tuple[int, int]]:
    return zip(found.rows.tolist(), found.phrases.tolist(), strict=True)


def parts(one: Judged) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Return which matches are of which kind and flag."""
    found = one.matches
    flags = Context().mark(one.texts, found.rows, found.starts, found.ends)
    kinds = {name: (found.kinds & ~np.uint8(TYPO)) == kind for name, kind in KINDS.items()}
    kinds = {name: mask & (found.kinds & TYPO == 0) for name, mask in kinds.items()}
    return {
        "kind": {**kinds, "with a typo": (found.kinds & TYPO) > 0},
        "flag": {"none": flags == 0, **{name: (flags & bit) > 0 for name, bit in FLAGS.items()}},
    }


def coders_section(sets: Sequence[Judged]) -> str:
    """Return the tables of shares that coders agree with."""
    tables = []
    for one in sets:
        for what, masks in parts(one).items():
            rows = []
            for name, mask in masks.items():
                if mask.any():
                    same = one.same_code[mask & one.right].mean() if one.same_code is not None else np.nan
                    shown = "" if np.isnan(same) else f"{same:.3f}"
                    rows.append(f"| {name} | {mask.sum():,} | {one.right[mask].mean():.3f} | {shown} |")
            head = f"| {what} | matches | right | same code |\n|---|---:|---:|---:|"
            tables.append("\n".join([f"**{one.title}**", "", head, *rows]))
    return "\n\n".join(tables)


def show(one: Judged, count: int) -> None:
    """Print some matches of each kind and flag."""
    generator = np.random.default_rng(0)
    for masks in parts(one).values():
        for name, mask in masks.items():
            which = np.flatnonzero(mask)
            print(f"== {one.title}: {name}")
            for i in generator.choice(which, min(count, len(which)), replace=False).tolist():
                row, start, end = (int(column[i]) for column in one.matches[:3])
                text = one.texts[row]
                around = f"{text[max(0, start - 70) : start]}[{text[start:end]}]{text[end : end + 30]}"
                print("  ", "right" if one.right[i] else "     ", around.replace("\n", " "))


def page() -> str:
    """Return the results as a page."""
    return "\n\n".join(
        [
            "# Finding phrases: speed, ways and context",
            "`python benchmarks/lexicon.py`",
            f"hclf, Python {platform.python_version()}, numpy {np.__version__}, one thread. Targets: over 1 MB/s "
            "of text with 300,000 phrases, tokenising and normalising included; under 20 s to build.",
            "## Speed",
            speed_section(),
            "*first*: a text's words are seen for the first time; *again*: the median of "
            f"{RUNS} later runs; *with context*: finding and marking what is denied, historical, of the family or "
            "hypothetical. *peak MB*: of the whole process, texts and phrases included.",
            "## What each way of finding brings",
            ways_section(),
            "Notes in both languages; each row adds to the one above it. Longest matches only.",
            "## What coders do with what is found",
            coders_section([judged_spanish(), judged_english()]),
            "Training part of CodiEsp. Spanish: phrases are mentions that coders marked in another document; right "
            "is a match that touches a marked span; *same code*: of those, the share with a code that the phrase has "
            "in another document. English: phrases are ICD-10-CM's; right is a match whose category the document "
            "has, whatever the reason.",
            "## Phrases of one language in notes of another",
            languages_section(),
            "Training part of CodiEsp, names, inclusion and index terms of ICD-10-CM, which are English. *categories "
            "reached*: of all pairs of a document and a category assigned to it, those with a match. *plain*: the "
            "languages without their sections `alike` and `equal`.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print N matches of each kind and flag")
    count = parser.parse_args().show
    if count:
        for one in (judged_spanish(), judged_english()):
            show(one, count)
        return
    text = page()
    Path(OUT).write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
