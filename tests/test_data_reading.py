"""Readers: formats, text fields, labels, and every kind of bad row."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
from pathlib import Path

import pytest

from hclf.data import Document, Problems, documents_from, read_documents, write_documents
from hclf.errors import DataError, MissingExtraError, UsageError

DATA = Path(os.environ.get("HCLF_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
RECORDS = [
    {"id": "1", "text": "Oat milk", "labels": ["milks", "vegan"], "price": 2},
    {"id": "2", "text": "Basmati rice", "labels": [], "price": 3},
]


def jsonl(*records: object) -> str:
    return "".join(json.dumps(r) + "\n" if not isinstance(r, str) else r + "\n" for r in records)


def read(text: str | bytes, **options) -> tuple[list[Document], Problems]:
    stream = io.BytesIO(text.encode() if isinstance(text, str) else text)
    reader = read_documents(stream, **{"format": "jsonl", **options})
    return list(reader), reader.problems


def test_reads_every_part_of_a_record():
    (first, second), problems = read(jsonl(*RECORDS))
    assert first == Document("1", {"text": "Oat milk"}, ("milks", "vegan"), {"price": 2}, 1, (), "<stream>")
    assert (second.labels, second.row) == ((), 2)
    assert not problems


def test_labels_are_none_without_a_label_field_or_with_null():
    documents, _ = read(jsonl({"text": "a"}, {"text": "b", "labels": None}, {"text": "c", "labels": ""}))
    assert [d.labels for d in documents] == [None, None, ()]


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ("a|b | c||", ("a", "b", "c")),
        (["a", 7, {"id": "b", "score": 0.5}], ("a", "7", "b")),
        (r"a\|b|c", ("a|b", "c")),
        (12, ("12",)),
        (["A > B > C"], ("A > B > C",)),
    ],
)
def test_labels_in_every_form(given, labels):
    assert read(jsonl({"text": "x", "labels": given}))[0][0].labels == labels


def test_ids_default_to_the_line_and_may_repeat():
    documents, problems = read(jsonl({"text": "a"}, "", {"text": "b", "id": 7}, {"text": "c", "id": 7}))
    assert [d.id for d in documents] == ["row-1", "7", "7"]
    assert not problems


def test_without_named_fields_text_wins_else_the_known_ones_of_the_first_record_that_has_any():
    assert read(jsonl({"title": "T", "text": "x"}))[0][0].fields == {"text": "x"}
    documents, _ = read(jsonl({"brand": "B", "title": "T", "size": 1}, {"title": "U", "description": "later"}))
    assert [d.fields for d in documents] == [{"title": "T", "brand": "B"}, {"title": "U", "brand": ""}]
    assert documents[0].text == "T\nB"
    assert documents[1].extra == {"description": "later"}


def test_reader_tells_its_fields():
    reader = read_documents(io.StringIO("title,size\nT,1\n"), format="csv")
    assert reader.fields == ("title",)


def test_named_fields_are_kept_in_order_and_a_text_may_be_a_number_or_a_list():
    (document,), _ = read(jsonl({"b": 1664, "a": ["x", "y"], "id": "1"}), fields=("a", "b"))
    assert document.fields == {"a": "x\ny", "b": "1664"}


def test_other_names_for_id_and_labels():
    (document,), _ = read(jsonl({"code": "z", "tags": "a", "text": "x"}), id_field="code", label_field="tags")
    assert (document.id, document.labels, document.extra) == ("z", ("a",), {})


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ('{"text": "x"', "bad-json"),
        ("[" * 100_000, "bad-json"),
        ('{"text": 1' + "0" * 5000 + "}", "bad-json"),
        ('["text"]', "not-an-object"),
        ("17", "not-an-object"),
        ('{"text": "x", "text": "y"}', "duplicate-key"),
        ('{"text": "x", "meta": {"a": 1, "a": 2}}', "duplicate-key"),
        ('{"text": "a\0b"}', "nul-byte"),
        (b'{"text": "\xff\xfe"}', "invalid-utf8"),
        (r'{"text": "\ud800"}', "invalid-utf8"),
        ('{"text": {"en": "x"}}', "wrong-type"),
        ('{"text": true}', "wrong-type"),
        ('{"text": "x", "labels": [["a"]]}', "wrong-type"),
        ('{"text": "x", "labels": {"a": 1}}', "wrong-type"),
        ('{"text": "x", "id": [1]}', "wrong-type"),
    ],
)
def test_bad_rows_are_counted_and_skipped_with_their_row(row, kind):
    good = jsonl(RECORDS[0]).encode()
    bad = row if isinstance(row, bytes) else row.encode()
    documents, problems = read(good + bad + b"\n" + good)
    assert [d.row for d in documents] == [1, 3]
    assert dict(problems.counts) == {kind: 1}
    assert problems.kept[0].row == 2
    with pytest.raises(DataError, match=r":2: ") as raised:
        read(good + bad + b"\n", strict=True)
    assert raised.value.row == 2


def test_text_never_appears_in_a_problem():
    secret = "Mrs Miller has the flu"
    rows = [
        f'{{"text": "{secret}"',
        f'["{secret}"]',
        f'{{"text": "{secret}", "text": 1}}',
        f'{{"text": "{secret}\0"}}',
    ]
    rows += [f'{{"text": ["{secret}", 1]}}', f'"{secret}"', f'{{"text": "{secret} \\x"}}']
    _, problems = read(jsonl({"text": "x"}, *rows))
    assert problems.total == len(rows)
    assert "Miller" not in problems.summary()
    for table in (f"id,text\n1,{secret},x\n", f'id,text\n1,"{secret}"x\n'):
        _, problems = read(table, format="csv")
        assert problems
        assert "Miller" not in problems.summary()
    with pytest.raises(DataError) as raised:  # no header row: the first document stands in its place
        read(f"id,{secret}\n", format="csv")
    assert "Miller" not in str(raised.value)


def test_empty_and_missing_texts_are_counted_and_kept_unless_told_to_skip():
    rows = jsonl({"text": "x"}, {"text": "  "}, {"text": None}, {"id": "4"})
    documents, problems = read(rows)
    assert [d.text.strip() for d in documents] == ["x", "", "", ""]
    assert problems.counts["empty-text"] == 3
    documents, problems = read(rows, on_empty="skip")
    assert len(documents) == 1
    assert problems.counts["empty-text"] == 3


def test_bad_spans_cost_the_spans_only():
    good = {"text": "x", "spans": [{"start": 0, "end": 1, "label": "a"}]}
    documents, problems = read(
        jsonl(good, {"text": "y", "spans": [{"start": 2, "end": 1}]}, {"text": "z", "spans": 1})
    )
    assert [len(d.spans) for d in documents] == [1, 0, 0]
    assert problems.counts["bad-spans"] == 2


def spans_of(*spans, **texts):
    (document,), problems = read(jsonl({**(texts or {"text": "oat milk, tea"}), "spans": list(spans)}))
    return list(document.spans), problems


def test_spans_may_be_in_several_pieces_and_name_a_field():
    found, problems = spans_of({"parts": [[4, 8], [0, 3]], "label": "a"}, {"parts": [], "start": 1, "end": 2})
    assert found[0] == {"start": 0, "end": 8, "parts": [[4, 8], [0, 3]], "label": "a"}
    assert (found[1]["start"], found[1]["end"]) == (1, 2)
    assert not problems
    found, problems = spans_of({"start": 0, "end": 4, "field": "body", "label": 7}, title="x", body="milk")
    assert len(found) == 1
    assert not problems


@pytest.mark.parametrize(
    "span",
    [
        {"start": 3, "end": 99},
        {"start": 0, "end": 1, "field": "title"},
        {"parts": [[0, 1], [12, 14]]},
    ],
)
def test_a_span_outside_the_text_is_left_out(span):
    found, problems = spans_of({"start": 0, "end": 3, "label": "a"}, span)
    assert found == [{"start": 0, "end": 3, "label": "a"}]
    assert problems.counts["bad-spans"] == 1
    assert "oat" not in problems.summary()


@pytest.mark.parametrize(
    "span",
    [
        {"start": "0", "end": 1},
        {"start": 0},
        {"start": True, "end": 1},
        {"parts": [[0]]},
        {"parts": 3},
        {"parts": [0, 1]},
        {"parts": ["01"]},
        {"parts": [[2, 1]]},
        {"parts": [[0, 1]], "start": 5, "end": 1},
        {"start": 0, "end": 1, "label": ["a"]},
        {"start": 0, "end": 1, "field": 3},
        "0-1",
        None,
    ],
)
def test_what_is_no_span_costs_all_of_them(span):
    found, problems = spans_of({"start": 0, "end": 3}, span)
    assert found == []
    assert problems.counts["bad-spans"] == 1


def test_a_line_beyond_the_cap_is_skipped_whole(monkeypatch):
    monkeypatch.setattr("hclf.data.sources.MAX_LINE", 60)
    documents, problems = read(jsonl({"text": "x"}, {"text": "long " * 100}, {"text": "y"}))
    assert [(d.text, d.row) for d in documents] == [("x", 1), ("y", 3)]
    assert dict(problems.counts) == {"line-too-long": 1}


# -- tables ----------------------------------------------------------------------------------------------------


def test_csv_with_quotes_newlines_and_blank_lines():
    table = '\ufeffid,text,labels\n1,"Oat ""milk""\r\nfresh",milks|vegan\n\n2,rice,\n'
    documents, problems = read(table, format="csv")
    assert [(d.row, d.text, d.labels) for d in documents] == [
        (2, 'Oat "milk"\r\nfresh', ("milks", "vegan")),
        (5, "rice", ()),
    ]
    assert not problems


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_found_in_the_header(delimiter):
    table = f"id{delimiter}text\n1{delimiter}a b\n"
    assert read(table, format="csv")[0][0].fields == {"text": "a b"}


def test_bad_csv_rows():
    table = b'id,text\n1,a,b\n2\n3,"x"y\n4,\xff\n5,a\0b\n6,fine\n7,"open\n8,swallowed\n'
    documents, problems = read(table, format="csv")
    assert [d.id for d in documents] == ["6"]
    kinds = [(p.kind, p.row) for p in problems.kept]
    assert kinds == [
        ("ragged-row", 2),
        ("ragged-row", 3),
        ("bad-csv", 4),
        ("invalid-utf8", 5),
        ("nul-byte", 6),
        ("bad-csv", 8),
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("id,text,text\n", "columns 2 and 3 of the header have the same name"),
        ("id,titel\n1,x\n", "lacks a text field"),
        ('"id\n', "header row is not valid"),
    ],
)
def test_headers_that_cannot_be_used(table, message):
    with pytest.raises(DataError, match=message):
        read(table, format="csv")


def test_a_missing_column_names_the_nearest():
    with pytest.raises(DataError, match="lacks column 'title'; did you mean 'titel'"):
        read("id,titel\n1,x\n", format="csv", fields="title")


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(RECORDS), path)
    documents = list(read_documents(path))
    assert [(d.id, d.text, d.labels, d.extra) for d in documents] == [
        ("1", "Oat milk", ("milks", "vegan"), {"price": 2}),
        ("2", "Basmati rice", (), {"price": 3}),
    ]
    packed = tmp_path / "a.parquet.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert [d.id for d in read_documents(packed)] == ["1", "2"]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a Parquet file"):
        list(read_documents(path))


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match=r"pip install 'hclf\[parquet\]'"):
        read_documents(path)


# -- sources ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.jsonl.gz", "a.txt", "a", "b.gz"])
def test_format_and_gzip_are_found(tmp_path, name):
    path = tmp_path / name
    content = jsonl(*RECORDS).encode()
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert [d.id for d in read_documents(path)] == ["1", "2"]


def test_stdin(monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(gzip.compress(b"id,text\n1,a\n")))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert [(d.text, d.file) for d in read_documents("-")] == [("a", "<stdin>")]
    assert not stdin.closed


def test_streams_of_the_caller_stay_open():
    for stream in (io.StringIO(jsonl(*RECORDS)), io.BytesIO(jsonl(*RECORDS).encode())):
        assert len(list(read_documents(stream))) == 2
        assert not stream.closed


def test_a_reader_that_is_dropped_closes_its_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(jsonl(*RECORDS))
    reader = read_documents(path)
    next(reader)
    del reader  # a ResourceWarning would be an error
    read_documents(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "x"}'.encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04rest", "ZIP or Excel"),
        (b'[\n{"text": "x"}\n]', "JSON array"),
        (gzip.compress(b'{"text": "x"}\n' * 1000, mtime=0)[:-30], "truncated"),
        (gzip.compress(bytes(range(256)) * 100, mtime=0)[:40] + b"\x00" * 40, "damaged|truncated|UTF-8|text field"),
        (jsonl(*[{"titel": "x"}] * 200).encode(), "first 100 records .* text field"),
        (jsonl({"a": 1}).encode(), "none of 1 records"),
    ],
)
def test_sources_that_cannot_be_read(tmp_path, content, message):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        list(read_documents(path))
    assert "a.jsonl" in str(raised.value)


def test_no_file_and_folders(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_documents(tmp_path / "nothing.jsonl")
    with pytest.raises(DataError, match="folder"):
        read_documents(tmp_path)


def test_a_wrong_field_name_is_noticed_after_a_hundred_records():
    with pytest.raises(DataError, match="did you mean 'title'"):
        read(jsonl(*[{"title": "x"}] * 200), fields="titel")


def test_a_named_field_that_no_record_has_is_a_problem_at_the_end():
    rows = jsonl({"title": "x"}, {"title": "y", "brand": "z"})
    assert not read(rows, fields=("title", "brand"))[1]
    _, problems = read(rows, fields=("title", "brnd"))
    assert problems.summary() == "1 missing-field\n  <stream>: no record has a field 'brnd'"
    with pytest.raises(DataError, match="no record has a field 'brnd'"):
        read(rows, fields=("title", "brnd"), strict=True)


def test_an_empty_source_has_no_documents():
    assert read("")[0] == []
    assert read("", format="csv")[0] == []
    assert read("id,text\n", format="csv")[0] == []


@pytest.mark.parametrize(
    "options",
    [{"format": "xml"}, {"fields": ()}, {"fields": ("a", "a")}, {"fields": "labels"}, {"on_empty": "drop"}],
)
def test_impossible_options(options):
    with pytest.raises(UsageError):
        read(jsonl(*RECORDS), **options)


def test_documents_from_texts_records_and_documents():
    document = Document("d", {"text": "ready"}, ("a",))
    reader = documents_from(["plain", {"text": "r", "labels": "x"}, document, 3])
    assert [(d.id, d.text, d.labels) for d in reader] == [
        ("row-1", "plain", None),
        ("row-2", "r", ("x",)),
        ("d", "ready", ("a",)),
    ]
    assert reader.problems.counts["not-an-object"] == 1


def test_numpy_and_pandas_values_are_plain_values():
    import numpy as np

    record = {"id": np.int64(5), "text": np.str_("x"), "labels": np.array(["a", "b"]), "brand": float("nan")}
    (document,) = documents_from([record], fields=("text", "brand"))
    assert (document.id, document.fields, document.labels) == ("5", {"text": "x", "brand": ""}, ("a", "b"))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA} (set HCLF_DATA)")
def test_real_files():
    reader = read_documents(DATA / "openfoodfacts" / "items.jsonl.gz")
    documents = list(reader)
    assert len(documents) == 7466
    assert reader.fields == ("title", "brand", "description", "ingredients")
    assert not reader.problems
    assert sum(len(d.labels) for d in documents) / 7466 == pytest.approx(1.31, abs=0.005)
    codes = read_documents(DATA / "codiesp" / "dev.jsonl.gz", fields="text_en", label_field="diagnoses")
    assert sum(len(d.labels) for d in codes) == 2677


def test_reading_and_writing_stream(tmp_path):
    import tracemalloc

    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wt") as file:
        for number in range(20_000):
            file.write(json.dumps({"id": number, "text": f"{number} " + "word " * 40, "labels": ["a"]}) + "\n")
    tracemalloc.start()
    try:
        assert write_documents(tmp_path / "b.csv.gz", read_documents(path)) == 20_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000  # the file holds 4.5 million characters
