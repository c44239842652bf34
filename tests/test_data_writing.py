"""Writers: round trips through every format, and files that are complete or not there."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hclf.data import (
    Document,
    Prediction,
    Problems,
    ScoredNode,
    open_predictions,
    read_documents,
    read_predictions,
    write_documents,
    write_predictions,
)
from hclf.data.cells import join_cell, split_cell
from hclf.errors import DataError, MissingExtraError, UsageError

# Anything a file can hold: no lone surrogates, and for CSV no NUL.
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
WORD = ANY.map(str.strip).filter(bool)
LABELS = st.lists(WORD, max_size=3).map(tuple)
SCORE = st.floats(0, 1).map(lambda x: round(x, 6))
NODE = st.builds(ScoredNode, WORD, ANY, st.integers(1, 12), SCORE, st.booleans())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | ANY,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(ANY, inner, max_size=2),
    max_leaves=4,
)


def documents(extra: st.SearchStrategy) -> st.SearchStrategy:
    return st.builds(
        Document,
        WORD,
        st.fixed_dictionaries({"text": ANY.filter(str.strip), "brand": ANY}),
        LABELS,
        st.fixed_dictionaries({"k": extra}),
    )


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    nodes = draw(st.lists(NODE, max_size=3, unique_by=lambda n: n.id))
    leaves = draw(st.lists(st.sampled_from([n.id for n in nodes]), unique=True)) if nodes else []
    return Prediction(draw(WORD), tuple(nodes), tuple(leaves), draw(LABELS))


def through_a_file(name: str, write, read):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        assert [p.name for p in path.parent.iterdir()] == [name]
        return list(read(path))


def stripped(document: Document) -> Document:
    return replace(document, row=0, file="")


# -- round trips -----------------------------------------------------------------------------------------------


@given(
    st.lists(st.builds(lambda d, labels: replace(d, labels=labels), documents(JSON), LABELS | st.none()), max_size=3)
)
def test_documents_round_trip_as_jsonl(given_documents):
    back = through_a_file(
        "d.jsonl.gz",
        lambda path: write_documents(path, given_documents),
        lambda path: read_documents(path, fields=("text", "brand")),
    )
    assert [stripped(d) for d in back] == given_documents


@given(st.lists(documents(ANY), max_size=3), st.sampled_from(["d.csv", "d.tsv", "d.csv.gz"]))
def test_documents_round_trip_as_csv(given_documents, name):
    back = through_a_file(
        name,
        lambda path: write_documents(path, given_documents),
        lambda path: read_documents(path, fields=("text", "brand"), strict=True),
    )
    assert [stripped(d) for d in back] == given_documents


@given(st.lists(predictions(), max_size=4))
def test_predictions_round_trip_as_jsonl(given_predictions):
    back = through_a_file("p.jsonl", lambda p: write_predictions(p, given_predictions), read_predictions)
    assert back == given_predictions


@given(
    st.lists(predictions(), max_size=4, unique_by=lambda p: p.id),
    st.sampled_from([("p.csv", "csv-long"), ("p.tsv.gz", "csv-long"), ("p.parquet", "parquet")]),
)
def test_predictions_round_trip_as_rows_of_labels_without_leaves_and_flags(given_predictions, form):
    name, format = form
    back = through_a_file(name, lambda p: write_predictions(p, given_predictions, format=format), read_predictions)
    assert back == [replace(p, leaves=(), flags=()) for p in given_predictions]


@given(st.lists(predictions(), max_size=4))
def test_predictions_round_trip_as_wide_csv_without_names_and_levels(given_predictions):
    back = through_a_file(
        "p.csv", lambda p: write_predictions(p, given_predictions, format="csv-wide"), read_predictions
    )
    plain = [replace(p, labels=tuple(ScoredNode(n.id, score=n.score) for n in p.labels)) for p in given_predictions]
    assert back == plain


@given(LABELS)
def test_cells_round_trip(labels):
    assert split_cell(join_cell(labels)) == labels


# -- predictions -----------------------------------------------------------------------------------------------

TEA = Prediction(
    "1", (ScoredNode("drinks", "Drinks", 1, 0.9), ScoredNode("teas", "Teas", 2, 0.1234567)), ("teas",), ("check",)
)
NOTHING = Prediction("2")


def written(*given_predictions: Prediction, **options) -> str:
    stream = io.StringIO()
    write_predictions(stream, given_predictions, **options)
    return stream.getvalue()


def test_the_three_text_forms():
    assert [json.loads(line) for line in written(TEA, NOTHING).splitlines()] == [
        {
            "id": "1",
            "labels": [
                {"id": "drinks", "name": "Drinks", "level": 1, "score": 0.9},
                {"id": "teas", "name": "Teas", "level": 2, "score": 0.123457},
            ],
            "leaves": ["teas"],
            "flags": ["check"],
        },
        {"id": "2", "labels": [], "leaves": [], "flags": []},
    ]
    assert written(TEA, NOTHING, format="csv-long").splitlines() == [
        "id,label,name,level,score,cold_start",
        "1,drinks,Drinks,1,0.9,false",
        "1,teas,Teas,2,0.123457,false",
        "2,,,,,",
    ]
    assert written(TEA, NOTHING, format="csv-wide").splitlines() == [
        "id,labels,leaves,scores,flags",
        "1,drinks|teas,teas,0.9|0.123457,check",
        "2,,,,",
    ]


def test_deepest_only():
    assert written(TEA, format="csv-long", deepest_only=True).splitlines()[1:] == ["1,teas,Teas,2,0.123457,false"]


def test_numpy_scores_are_written_as_numbers():
    import numpy as np

    (back,) = read_predictions(io.StringIO(written(Prediction("1", (ScoredNode("a", "A", 1, np.float32(0.3)),)))))
    assert back.labels[0].score == pytest.approx(0.3)


def test_plain_records_are_predictions_too():
    text = '{"id": "1", "text": "x", "labels": ["a", 7]}\n{"id": "2", "labels": "a|b"}\n{"id": "3"}\n'
    problems = Problems()
    back = list(read_predictions(io.StringIO(text), problems=problems))
    assert [[n.id for n in p.labels] for p in back] == [["a", "7"], ["a", "b"]]
    assert back[0].labels[0] == ScoredNode("a", "", 0, 1.0)
    assert problems.counts == {"missing-labels": 1}
    table = list(read_predictions(io.StringIO("id,labels\n1,a|b\n2,\n"), format="csv"))
    assert [[n.id for n in p.labels] for p in table] == [["a", "b"], []]


def test_rows_of_one_id_are_two_documents_where_a_label_comes_again():
    text = "id,label\n1,a\n1,b\n1,a\n2,\n2,\n2,c\n"
    back = list(read_predictions(io.StringIO(text), format="csv"))
    assert [(p.id, [n.id for n in p.labels]) for p in back] == [
        ("1", ["a", "b"]),
        ("1", ["a"]),
        ("2", []),
        ("2", []),
        ("2", ["c"]),
    ]


@pytest.mark.parametrize(
    "row",
    [
        '{"id": "1", "labels": [{"name": "x"}]}',
        '{"id": "1", "labels": [{"id": "a", "score": "high"}]}',
        '{"id": "1", "labels": [{"id": "a", "score": true}]}',
        '{"id": "1", "labels": [{"id": "a", "level": 1e999}]}',
        '{"id": "1", "labels": [{"id": "a", "name": []}]}',
        '{"id": "1", "labels": ["a"], "scores": [1, 2]}',
        '{"id": [], "labels": []}',
        '{"id": "1", "labels": true}',
    ],
)
def test_bad_predictions_are_counted(row):
    problems = Problems()
    assert list(read_predictions(io.StringIO(row), problems=problems)) == []
    assert problems.total == 1
    with pytest.raises(DataError):
        list(read_predictions(io.StringIO(row), strict=True))


def test_a_table_that_holds_no_predictions():
    with pytest.raises(DataError, match="neither a column 'label' nor 'labels'"):
        read_predictions(io.StringIO("id,text\n1,x\n"), format="csv")


@pytest.mark.parametrize(
    ("name", "format"),
    [("p.jsonl", "jsonl"), ("p.csv.gz", "csv-long"), ("p.tsv", "csv-long"), ("p.parquet", "parquet"), ("p", "jsonl")],
)
def test_the_suffix_tells_the_format(tmp_path, name, format):
    with open_predictions(tmp_path / name) as writer:
        assert writer.format == format
    assert list(read_predictions(tmp_path / name)) == []


def test_unknown_formats():
    with pytest.raises(UsageError, match="did you mean 'csv-long'"):
        written(TEA, format="csvlong")
    with pytest.raises(UsageError, match="cannot write format 'parquet'"):
        write_documents(io.StringIO(), [], format="parquet")


def test_parquet_without_pyarrow_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError):
        open_predictions(tmp_path / "p.parquet")
    assert list(tmp_path.iterdir()) == []


# -- whole files only ------------------------------------------------------------------------------------------


def test_an_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text("old")
    with open_predictions(path) as writer:
        writer.write(TEA)
        assert path.read_text() == "old"
    assert next(iter(read_predictions(path))).id == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["p.jsonl"]


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.jsonl.gz", "p.parquet"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError])
def test_what_is_finished_is_kept_apart_and_said(tmp_path, caplog, name, error):
    def some():
        yield TEA
        raise error("stop")

    with pytest.raises(error):
        write_predictions(tmp_path / name, some())
    (partial,) = tmp_path.iterdir()
    assert partial.name == name + ".partial"
    assert f"1 finished record(s) are kept in {partial}" in caplog.text
    kept = partial.rename(tmp_path / name)
    assert [p.id for p in read_predictions(kept)] == ["1"]


def test_nothing_is_left_when_nothing_was_finished(tmp_path):
    with pytest.raises(KeyboardInterrupt), open_predictions(tmp_path / "p.jsonl"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("count", [1, 10_000])
def test_a_full_disk(count):
    with pytest.raises(DataError, match="/dev/full: the disk is full"):
        write_predictions("/dev/full", [TEA] * count)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_keeps_what_fitted(tmp_path, monkeypatch):
    """The temporary file is made a link to /dev/full: every write fails as on a full disk."""
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode: opened(Path("/dev/full"), "wb"))
    with pytest.raises(DataError, match=r"the disk is full after \d+ records"):
        write_predictions(tmp_path / "p.jsonl", [TEA] * 10_000)


def test_links_stay_links(tmp_path):
    (tmp_path / "real.jsonl").write_text("old")
    link = tmp_path / "link.jsonl"
    link.symlink_to("real.jsonl")
    write_predictions(link, [TEA])
    assert link.is_symlink()
    assert len(list(read_predictions(tmp_path / "real.jsonl"))) == 1


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match="folder does not exist"):
        open_predictions(tmp_path / "nowhere" / "p.jsonl")
    with pytest.raises(DataError, match="is a folder"):
        open_predictions(tmp_path)


def test_stdout_stays_open(capsysbinary):
    write_predictions("-", [TEA], format="csv-wide")
    print("after", flush=True)
    assert capsysbinary.readouterr().out.splitlines()[1:] == [b"1,drinks|teas,teas,0.9|0.123457,check", b"after"]


def test_the_same_records_give_the_same_gzip_bytes(tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_predictions(tmp_path / name, [TEA])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).startswith(b'{"id": "1"')


# -- documents -------------------------------------------------------------------------------------------------


def test_documents_keep_the_names_of_their_fields():
    stream = io.StringIO()
    document = Document(
        "7", {"title": "Tea"}, ("a", "b|c"), {"price": 2, "tags": ["x"]}, spans=({"start": 0, "end": 1},)
    )
    write_documents(stream, [document], format="csv", id_field="code", label_field="tag")
    assert stream.getvalue().splitlines() == [
        "code,title,tag,spans,price,tags",
        '7,Tea,a|b\\|c,"[{""start"": 0, ""end"": 1}]",2,"[""x""]"',
    ]


def test_what_a_format_cannot_hold_is_said():
    with pytest.raises(DataError, match="record 2 has a field 'b' that the first one lacks"):
        write_documents(
            io.StringIO(), [Document("1", {"text": "x"}), Document("2", {"text": "x"}, None, {"b": 1})], format="csv"
        )
    with pytest.raises(DataError, match="record 1 holds a NUL"):
        write_documents(io.StringIO(), [Document("1", {"text": "a\0"})], format="csv")
    with pytest.raises(DataError, match="record 1 has two fields 'id'"):
        write_documents(io.StringIO(), [Document("1", {"text": "x"}, None, {"id": "own"})])
    with pytest.raises(DataError, match="half a character"):
        write_documents(io.BytesIO(), [Document("1", {"text": "\ud800"})])
    with pytest.raises(DataError, match="NaN or infinity"):
        write_documents(io.StringIO(), [Document("1", {"text": "x"}, None, {"a": float("inf")})])
