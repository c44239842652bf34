"""Mutated and hostile YAML: whatever comes in, a taxonomy or faults come out, soon and in little memory.

To reproduce a failure: `print(mutated(SEED, INDEX))` with the two numbers it prints.
"""

from __future__ import annotations

import gzip
import random
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml as pyyaml

from hclf.errors import Fault, TaxonomyError
from hclf.formats import yaml
from hclf.formats._yaml import events
from hclf.taxonomy import Taxonomy

SEEDS = (1, 20, 300)
INPUTS = 6_000  # for each seed
SECONDS = 5.0  # of CPU for one input
MEGABYTES = 300  # for all of them
CORPUS = [path.read_bytes() for path in sorted((Path(__file__).parent / "fuzz_seeds" / "yaml").glob("*.yaml"))]
SIGNS = (
    rb""": |- |? |, |[|]|{|}|&x |*x|&s |*s|!!str |!!python/none |!|'|"|#| #|---|...|<<: |\|\ud800| |    |~| > |<"""
)
WORDS = (
    rb"null|true|no|0x1F|1e999|.nan|-|-1|1|2024-02-30|0000-00-00|a|x|phones|hclf|id|name|synonyms|children|parents"
)
WORDS += (
    rb"|assignable|valid_to|meta|rules|type|node|others|k|[a, b]|{a: [1, {}]}|{en: x}|[]|{}|''|a b|'|'|\u53f0\u6240"
)
LINES = [
    b"nodes:",
    b"hclf: 1",
    b"hclf: 2",
    b"children:",
    b"- a",
    b"  - id: b",
    b"%TAG ! x",
    b"%YAML 9.9",
    b"rules: []",
]
ODD = [
    "\u0085",
    "\u2028",
    "\ufeff",
    "\ufffe",
    "\u202e",
    "\U0001f52a",
    "\0",
    "\x1b[31m",
    "\x7f",
    "\t",
    "\n",
    "\r",
    "\r\n",
]
BROKEN = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"]
TOKENS = [*SIGNS.split(b"|"), b"|\n", *WORDS.split(b"|"), *(b"\n" + line + b"\n" for line in LINES)]
TOKENS += [*(text.encode() for text in ODD), *BROKEN]


def flip(r: random.Random, data: bytearray) -> None:
    for _ in range(r.randint(1, 3)):
        data[r.randrange(len(data))] = r.randrange(256)


def truncate(r: random.Random, data: bytearray) -> None:
    del data[r.randrange(len(data)) :]


def cut(r: random.Random, data: bytearray) -> None:
    at = r.randrange(len(data))
    del data[at : at + r.randint(1, 40)]


def repeat(r: random.Random, data: bytearray) -> None:
    at = r.randrange(len(data))
    data[at:at] = data[at : at + r.randint(1, 200)] * r.choice([1, 1, 2, 50])


def swap_lines(r: random.Random, data: bytearray) -> None:
    lines = data.split(b"\n")
    i, j = r.randrange(len(lines)), r.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]
    data[:] = b"\n".join(lines)


def indent(r: random.Random, data: bytearray) -> None:
    lines = data.split(b"\n")
    i = r.randrange(len(lines))
    lines[i] = r.choice([b" ", b"  ", b"\t", b"", b"        "]) + lines[i].lstrip()
    data[:] = b"\n".join(lines)


def insert(r: random.Random, data: bytearray) -> None:
    for _ in range(r.randint(1, 2)):
        at = r.randint(0, len(data))
        data[at:at] = r.choice(TOKENS)


def swap_words(r: random.Random, data: bytearray) -> None:
    words = list(re.finditer(rb"\w+", data))
    if words:
        data[slice(*r.choice(words).span())] = r.choice(words)[0]


def replace_word(r: random.Random, data: bytearray) -> None:
    words = list(re.finditer(rb"[\w-]+", data))
    if words:
        data[slice(*r.choice(words).span())] = r.choice(WORDS.split(b"|"))


def nest(r: random.Random, data: bytearray) -> None:
    at, times = r.randint(0, len(data)), r.choice([3, 100, 999, 5_000])
    data[at:at] = r.choice([b"[", b"{", b"[{a: ", b"- ", b"? ", b"- - ? ", b"- a:\n "]) * times


def bomb(r: random.Random, data: bytearray) -> None:
    data += b"\nb0: &b0 [x, y]\n"
    for i in range(1, r.choice([3, 12, 40])):
        data += b"b%d: &b%d [%s]\n" % (i, i, b", ".join([b"*b%d" % (i - 1)] * 9))
    data += r.choice([b"", b"nodes: *b2\n", b"rules: *b3\n"])


def huge(r: random.Random, data: bytearray) -> None:
    at = r.randint(0, len(data))
    data[at:at] = r.choice([b"x", b"x ", b"9", b"'", b"\\", b"\xc3\xa9", b"\n ", b"a: ", b"#"]) * r.choice(
        [2_000, 50_000]
    )


def splice(r: random.Random, data: bytearray) -> None:
    other = r.choice(CORPUS)
    data[r.randrange(len(data)) :] = other[r.randrange(len(other)) :]


def recode(r: random.Random, data: bytearray) -> None:
    data[:] = data.decode(errors="replace").encode(
        r.choice(["utf-16", "utf-32", "utf-8-sig", "utf-16-le", "cp037"]), "replace"
    )


COMMON: list[Callable[[random.Random, bytearray], None]] = [
    *(flip, truncate, cut, repeat, swap_lines, indent, insert, insert, splice),
    *(swap_words, swap_words, swap_words, replace_word, replace_word, replace_word),
]
RARE: list[Callable[[random.Random, bytearray], None]] = [nest, bomb, huge, recode]


def mutated(seed: int, index: int) -> bytes:
    """Return one input: a file of the corpus after one to four mutations."""
    r = random.Random(f"{seed}:{index}")
    data = bytearray(r.choice(CORPUS))
    for _ in range(r.choice([1, 1, 1, 2, 3, 4])):
        if data:
            r.choice(RARE if r.random() < 0.08 else COMMON)(r, data)
    return bytes(data)


def examine(data: bytes) -> Taxonomy | None:
    """Read an input and check what must hold for any."""
    taxonomy, faults = yaml.check_text(data, "f")
    errors = [fault for fault in faults if fault.severity == "error"]
    assert (taxonomy is None) == bool(errors)
    for fault in faults:
        check_fault(fault, data)
    if taxonomy is None:
        with pytest.raises(TaxonomyError) as raised:
            yaml.reads(data, "f")
        assert list(raised.value.faults) == errors
        return None
    again = yaml.reads(yaml.dumps(taxonomy))
    assert again.fingerprint == taxonomy.fingerprint
    return taxonomy


def check_fault(fault: Fault, data: bytes) -> None:
    line = str(fault)
    assert line.isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", line), ascii(line)
    assert len(line) < 500, line
    assert fault.line >= 1, line
    assert fault.column >= 1, line
    assert fault.line <= 2 + len(re.split(rb"\r\n|\r|\n|\xc2\x85|\xe2\x80[\xa8\xa9]", data)), line


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_mutated_inputs(seed: int) -> None:
    before, worst, taxonomies = peak_megabytes(), (0.0, 0), 0
    for index in range(INPUTS):
        data, started = mutated(seed, index), time.process_time()
        try:
            taxonomies += examine(data) is not None
        except BaseException as error:
            error.add_note(f"seed {seed}, index {index}")
            raise
        worst = max(worst, (time.process_time() - started, index))
    assert worst[0] < SECONDS, f"seed {seed}, index {worst[1]}: {worst[0]:.1f} s"
    assert peak_megabytes() - before < MEGABYTES
    assert 0.05 < taxonomies / INPUTS < 0.6  # neither all broken nor all harmless: the fuzzing reaches everything


@pytest.mark.slow
def test_mutated_inputs_without_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "Parser", pyyaml.SafeLoader)
    for index in range(600):
        data = mutated(SEEDS[0], index)
        if len(data) < 20_000:  # the parser in Python is slow, not wrong
            try:
                examine(data)
            except BaseException as error:
                error.add_note(f"without libyaml: seed {SEEDS[0]}, index {index}")
                raise


# -- hostile inputs, one by one ------------------------------------------------------------------------------


def refused(data: bytes) -> str:
    """Return the one error of an input, which must come within a second."""
    started = time.process_time()
    taxonomy, faults = yaml.check_text(data, "f")
    assert time.process_time() - started < 1
    assert taxonomy is None
    assert len(faults) == 1
    assert "\n" not in str(faults[0])
    return str(faults[0])


HEAD = b"hclf: 1\nnodes:\n"
DEEP = {
    "flow": HEAD + b"  " + b"[" * 10_000 + b"]" * 10_000,
    "flow nodes": HEAD + b"  - " + b"{a: [" * 10_000 + b"]}" * 10_000,
    "block": HEAD + b"  " + b"- " * 10_000 + b"a",
    "block nodes": HEAD
    + b"".join(b"  " * i + b"- id: n%d\n" % i + b"  " * i + b"  children:\n" for i in range(2_000)),
    "keys": HEAD + b"  - " + b"? " * 10_000 + b"a",
    "unclosed": HEAD + b"  - " + b"[{a: " * 10_000,
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_nesting(name: str) -> None:
    assert re.fullmatch(r"f:\d+:\d+: nested deeper than 1,000; write the nodes flat.*", refused(DEEP[name]))


def test_nesting_within_the_limit_is_read() -> None:
    taxonomy = yaml.reads(HEAD + b"- " + b"{a: [" * 1 + b"".join(b"{n%d: [" % i for i in range(490)) + b"]}" * 491)
    assert taxonomy.depth == 491


def test_deep_taxonomies_without_nesting_are_read() -> None:
    chain = b"".join(b"  - {id: n%05d, parents: n%05d}\n" % (i, i - 1) for i in range(1, 10_000))
    assert yaml.reads(HEAD + b"  - id: n00000\n" + chain).depth == 10_000


def test_billion_laughs() -> None:
    laughs = b"a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
    laughs += b"".join(b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 12))
    message = refused(laughs + HEAD + b"  - *a11\n")
    assert re.fullmatch(r"f:\d+:\d+: aliases stand for more than 1,000,000 values; write them out", message)


def test_a_quadratic_bomb() -> None:
    data = HEAD + b"  - {id: x, synonyms: &a [" + b"y, " * 20_000 + b"y]}\n"
    data += b"".join(b"  - {id: z%d, synonyms: *a}\n" % i for i in range(20_000))
    assert "aliases stand for more than" in refused(data)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("kind", ["zeros", "nodes"])
def test_hundred_megabytes(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"big.yaml{suffix}"
    block = bytes(2**20) if kind == "zeros" else (b"  - id: x\n    name: y\n" * 2**16)[: 2**20]
    with gzip.open(path, "wb", compresslevel=1) if suffix else path.open("wb") as stream:
        for _ in range(100):
            stream.write(block)
    before, started = peak_megabytes(), time.process_time()
    taxonomy, faults = yaml.check(path)
    assert time.process_time() - started < 2
    assert peak_megabytes() - before < 400
    assert taxonomy is None
    assert [str(fault) for fault in faults] == [
        f"{path}: larger than 64 MiB, the limit for YAML; keep a taxonomy of this size as a table (TSV or CSV)"
    ]


@pytest.mark.slow
def test_many_values_below_the_size_limit() -> None:
    before, started = peak_megabytes(), time.process_time()
    taxonomy, faults = yaml.check_text(HEAD + b"- [[],[],[],[]]\n" * 4_000_000, "f")
    assert time.process_time() - started < 20
    assert peak_megabytes() - before < 1_000
    assert taxonomy is None
    assert len(faults) == 1
    assert "more than 3,000,000 values" in str(faults[0])
