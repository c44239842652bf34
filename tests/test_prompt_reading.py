"""Codes read out of what models write."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hclf.scorers.prompt.reading import LONGEST, read_codes, visible

LETTERS = ("A", "B", "C", "I", "N")
NUMBERS = tuple(f"{i:02d}" for i in range(1, 21))


def chosen(text, codes=LETTERS):
    return read_codes(text, codes).chosen


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"codes": ["A", "C"]}', "AC"),
        ('Here it is:\n```json\n{"codes": ["A", "C"]}\n```\nAnything else?', "AC"),
        ('{"codes": ["A", "B"', "AB"),  # cut off
        ('{"answer": "B) Shoes"}', "B"),
        ('{"codes": "A, B"}', "AB"),
        ('{"reason": "A is too wide", "code": "B"}', "B"),
        ('First ["A"], no: {"codes": ["B"]}', "B"),
        ('[{"code": "A", "name": "Shoes"}, {"code": "C", "name": "Boots"}]', "AC"),
        ('{"A": true, "B": false}', "A"),
        ("A, C", "AC"),
        ("A and C", "AC"),
        ("A, B, and C", "ABC"),
        ("A C", "AC"),
        ("A/C", "AC"),
        ("[A, C]", "AC"),
        ("C, A, C", "CA"),
        ("Answer: B.", "B"),
        ("**Answer:** B", "B"),
        ("The answer is B because A is too wide.", "B"),
        ("I choose B.", "B"),
        ("Options: A, B, C. Answer: C", "C"),
        ("Answer: A? No. Answer: B", "B"),
        ("Answer:\nA\nC", "AC"),
        ("**B**", "B"),
        ("(B)", "B"),
        ("'B'", "B"),
        ("B) Shoes", "B"),
        ("B) Shoes\nC) Boots", "BC"),
        ("- A: Shoes\n- C - Boots", "AC"),
        ("1. A) Shoes\n2. C) Boots", "AC"),
        ("A: yes\nB: no", "A"),
        ("The best of them is (B).", "B"),
        ("The best is **B**, not (A).", "B"),
        ("b", "B"),
        ("a, c", "AC"),
        ("I", "I"),
        ("<think>A? Or C? Answer: C</think>\n\nB", "B"),
        ("so it is A.\n</think>B", "B"),  # opened by the template
        ("<think>A it is, but", ""),
        ("none", "N"),
        ("None of the above.", "N"),
        ("No option applies.", "N"),
        ("Answer: none", "N"),
        ('{"codes": []}', "N"),
        ('{"codes": ["none"]}', "N"),
        ("N", "N"),
        ("A, N", "A"),  # none beside others says nothing
        ("A pair of shoes", ""),
        ("a pair of shoes", ""),
        ("Answer: A pair of shoes", ""),
        ("I would say so", ""),
        ("A and B are words", ""),
        ("Nonexistent", ""),
        ("Sorry, I cannot help with that.", ""),
        ("", ""),
        ('{"codes": null}', ""),
    ],
)
def test_letters(text, expected):
    reading = read_codes(text, LETTERS)
    assert reading.chosen == tuple(expected)
    assert reading.readable == bool(expected)
    assert len(reading.places) == len(reading.chosen)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", ["07"]),
        ("07, 12", ["07", "12"]),
        ('{"codes": [7, "12"]}', ["07", "12"]),
        ("7. Shoes", ["07"]),
        ("Answer: 20", ["20"]),
        ("Answer: 12 pairs", []),
        ("3.5 mg of it", []),
        ("1990 was a year", []),
    ],
)
def test_numbers(text, expected):
    assert chosen(text, NUMBERS) == tuple(expected)


def test_lower_case_is_not_guessed_where_both_are_offered():
    assert chosen("a, B", ("a", "A", "B", "N")) == ("a", "B")
    assert not read_codes("ab", ("aB", "Ab", "N")).readable


def test_codes_that_are_words_take_a_comma_or_capitals():
    codes = ("AN", "IT", "IS", "NO")
    assert chosen("it is", codes) == ()
    assert chosen("IT, IS", codes) == ("IT", "IS")


@pytest.mark.parametrize(
    ("text", "invented", "expected"),
    [
        ('{"codes": ["A", "Z"]}', 1, "A"),
        ('{"codes": ["Shoes"]}', 1, ""),
        ("A, Z, Q", 2, "A"),
        ("Answer: Z", 1, ""),
        ("Hello", 0, ""),
    ],
)
def test_invented_codes_are_counted_and_left_out(text, invented, expected):
    reading = read_codes(text, LETTERS)
    assert (reading.invented, reading.chosen) == (invented, tuple(expected))


def test_places_are_where_the_codes_stand():
    for text in ('{"reason": "A is bad", "codes": ["A", "C"]}', "Answer: A, C", "A) x\nC) y", "see (A) or (C)"):
        reading = read_codes(text, LETTERS)
        assert reading.chosen == ("A", "C")
        assert [text[place] for place in reading.places] == ["A", "C"]
    assert read_codes('{"reason": "A is bad", "codes": ["A"]}', LETTERS).places == (34,)


@pytest.mark.parametrize(
    "text",
    [
        "A pair " * 100_000,
        "<think>" * 100_000,
        "</think" * 100_000,
        "[" * 50_000,
        '{"codes":' * 5_000,
        "[" * 4_999 + "]" * 4_999,
        '{"codes":' * 900 + "1" + "}" * 900,
        '{"codes": [1' + "0" * 9_000 + "]}",
        "answer A B " * 5_000,
        '"A' * 20_000,
        "- " * 20_000,
        "**" * 20_000,
        " " * 100_000,
    ],
)
def test_long_answers_are_bounded(text):
    began = time.process_time()
    reading = read_codes(text, LETTERS)
    assert time.process_time() - began < 1
    assert set(reading.chosen) <= set(LETTERS)
    assert len(visible(text)) <= LONGEST


CODES = st.one_of(
    st.integers(1, 26).map(lambda n: tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:n])),
    st.integers(1, 99).map(lambda n: tuple(f"{i:02d}" for i in range(n))),
    st.integers(1, 40).map(lambda n: tuple(f"A{chr(65 + i // 26)}{chr(65 + i % 26)}" for i in range(n))),
)
FORMATS = {
    "object": lambda codes: json.dumps({"codes": codes}),
    "array": json.dumps,
    "fence": lambda codes: f"Sure!\n```json\n{json.dumps({'codes': codes}, indent=1)}\n```\nThat is all.",
    "commas": ", ".join,
    "and": " and ".join,
    "answer": lambda codes: f"Let me see. Answer: {', '.join(codes)}.",
    "bold": lambda codes: ", ".join(f"**{code}**" for code in codes),
    "brackets": lambda codes: " ".join(f"({code})" for code in codes),
    "lines": lambda codes: "\n".join(f"{code}) some words, and more" for code in codes),
    "bullets": lambda codes: "\n".join(f"- {code}: a description" for code in codes),
    "thought": lambda codes: f"<think>A? 01? {json.dumps(['A'])}</think>{' and '.join(codes)}",
}


@given(st.data(), CODES, st.sampled_from(sorted(FORMATS)))
def test_codes_are_found_in_every_format(data, codes, name):
    held = data.draw(st.lists(st.sampled_from(codes[:-1] or codes), min_size=1, unique=True))
    reading = read_codes(FORMATS[name](held), codes)
    assert reading.chosen == tuple(held)
    assert reading.invented == 0


@given(
    st.one_of(
        st.text(),
        st.text('AB CN01\n"{}[]:,.*()<>/think answeryo'),
        st.lists(st.sampled_from(["A", "Z", "none", "answer:", "{", '"codes"', ":", "[", "]", "}", ",", "\n"])).map(
            " ".join
        ),
    ),
    CODES,
)
def test_nothing_is_invented_whatever_is_written(text, codes):
    reading = read_codes(text, codes)
    assert set(reading.chosen) <= set(codes)
    assert len(set(reading.chosen)) == len(reading.chosen) == len(reading.places)
    assert reading.readable == bool(reading.chosen)
    assert len(reading.chosen) < 2 or codes[-1] not in reading.chosen
    assert all(-1 <= place < len(visible(text)) for place in reading.places)
