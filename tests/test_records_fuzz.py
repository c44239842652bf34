"""Fuzzing of record and prediction files: damaged in any way, they give problems or one DataError.

Every input follows from its seed: a failure prints the seed and the number of the input, and
`mutated(seed, number)` makes it again. No input may raise anything else, take long, need much memory, or put the
text of a document into a message.
"""

from __future__ import annotations

import gzip
import io
import json
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import pytest

from hclf.data import (
    LabelResolver,
    Problems,
    check_records,
    read_documents,
    read_predictions,
    resolved,
    write_documents,
    write_predictions,
)
from hclf.errors import DataError
from hclf.taxonomy import Taxonomy

SEEDS = range(10)
INPUTS = 3_000  # a seed
SECONDS = 2  # an input
MEGABYTES = 150  # more than before, at most, over all inputs of a seed
SECRET = "SECRET WORDS"
TREE = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])

RECORDS = [
    {"id": "1", "text": SECRET, "labels": ["rice", "food > tea"], "spans": [{"start": 0, "end": 3, "label": "tea"}]},
    {"id": 2, "text": f"é {SECRET}\n…", "labels": "rice|tea", "extra": {"a": [1.5, None, True]}},
    {"text": SECRET, "labels": [], "price": 1e3},
]
PREDICTIONS = [
    {
        "id": "1",
        "labels": [{"id": "food", "name": "Food", "level": 1, "score": 0.9}],
        "leaves": ["food"],
        "flags": ["x"],
    },
    {"id": "2", "labels": ["rice", "tea"]},
    {"id": "3", "labels": []},
]


def lines(records: list[dict]) -> bytes:
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records).encode() * 3


BASES = [
    lines(RECORDS),
    lines(PREDICTIONS),
    f'id,text,labels,n\n1,"{SECRET}, ""q""\n x",rice|tea,5\n2,{SECRET} é,,\n3,x,food > tea,1\n'.encode(),
    f"id\ttitle\tlabels\n1\t{SECRET}\trice\n2\t{SECRET}\ttea\n".encode(),
    b"id,label,name,level,score\n1,food,Food,1,0.9\n1,tea,Tea,2,0.5\n2,,,,\n",
    b"id,labels,leaves,scores\n1,food|tea,tea,0.9|0.5\n2,,,\n",
]
PACKED = [gzip.compress(base, mtime=0) for base in BASES]
TOKENS = [
    *(
        b"\" ' , ; \t | \\ { } [ ] : \n \r \r\n \0 \xff \xc3 \xf0\x9f \xef\xbb\xbf \xff\xfe PK\x03\x04 PAR1".split(
            b" "
        )
    ),
    *(b'\x1f\x8b null true NaN Infinity -1e999 1e999 "" "id" "text" "labels" \\ud800 \\u0000 \\"'.split(b" ")),
    b"9" * 5000,
    b"[" * 3000,
    b'{"a":' * 3000,
    b'"labels": ["tea", "tea"], ',
    b'"spans": [{"start": 5, "end": 1}], ',
    b"a" * 200_000,
    b'""' * 300,
    b"\n" * 300,
]


def cut(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    del data[at : at + random.choice((1, 2, 10, len(data)))]


def flip(data: bytearray, random: Random) -> None:
    for _ in range(random.choice((1, 3, 30))):
        if data:
            data[random.randrange(len(data))] = random.randrange(256)


def put(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.choice(TOKENS)


def copy(data: bytearray, random: Random) -> None:
    start, at = random.randrange(len(data) + 1), random.randrange(len(data) + 1)
    data[at:at] = data[start : start + random.choice((1, 20, 200))]


def splice(data: bytearray, random: Random) -> None:
    other = random.choice(BASES)
    data[random.randrange(len(data) + 1) :] = other[random.randrange(len(other)) :]


MUTATIONS: list[Callable[[bytearray, Random], None]] = [cut, flip, put, copy, splice]


def mutated(seed: int, number: int) -> tuple[bytes, str | None]:
    """Return the damaged bytes of one input, and the format to read them as."""
    random = Random(f"{seed} {number}")
    data = bytearray(random.choice(BASES if random.random() < 0.85 else PACKED))
    for _ in range(random.randint(1, 4)):
        random.choice(MUTATIONS)(data, random)
    if random.random() < 0.15:
        data = bytearray(gzip.compress(bytes(data), mtime=0))
    return bytes(data), random.choice((None, None, None, "jsonl", "csv", "tsv"))


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def use_documents(data: bytes, format: str | None) -> int:
    """Read, check, resolve, write and read again; return how many documents there were."""
    problems, refused = Problems(keep=50), ""
    try:
        documents = list(read_documents(io.BytesIO(data), format=format, problems=problems))
    except DataError as error:
        documents, refused = [], str(error)
    assert SECRET not in refused + problems.summary()
    assert check_records(TREE, documents).documents == len(documents)
    list(resolved(documents, LabelResolver(TREE)))
    copy = io.BytesIO()
    try:
        write_documents(copy, documents)
    except DataError:  # infinity in an extra field, or a field that clashes with `id`
        return len(documents)
    copy.seek(0)
    fields = tuple(documents[0].fields) if documents else None
    assert len(list(read_documents(copy, fields=fields, format="jsonl"))) == len(documents)
    return len(documents)


def use_predictions(data: bytes, format: str | None) -> int:
    """Read predictions, write and read them again; return how many there were."""
    try:
        predictions = list(read_predictions(io.BytesIO(data), format=format))
    except DataError:
        return 0
    copy = io.BytesIO()
    write_predictions(copy, predictions)
    copy.seek(0)
    assert len(list(read_predictions(copy, format="jsonl", strict=True))) == len(predictions)
    return len(predictions)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_files_give_problems_or_a_data_error(seed):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    survived = 0
    for number in range(INPUTS):
        data, format = mutated(seed, number)
        try:
            with no_longer_than(SECONDS):
                survived += use_documents(data, format) > 0
                survived += use_predictions(data, format) > 0
        except Exception as error:
            pytest.fail(f"seed {seed}, number {number}, format {format}: {type(error).__name__}: {error}")
    assert survived > INPUTS / 4, "the damage leaves too little to read: the fuzz tests nothing"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    assert grown < MEGABYTES, f"seed {seed}: {grown:.0f} MB more"
