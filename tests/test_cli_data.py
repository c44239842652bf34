"""`hclf data check|split|synth` as a person runs them: output, exit status, files."""

from __future__ import annotations

import gzip
import io
import json
import sys

import pytest

from hclf.cli import main

TAXONOMY = "id\tname\tparents\nfood\tFood\t\nrice\tRice\tfood\ntea\tTea\tfood\n"
TEXTS = [("green tea", "tea"), ("black tea", "tea"), ("basmati", "rice"), ("risotto", "rice"), ("bread", "food")] * 4


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HCLF_CACHE_DIR", str(tmp_path / ".cache"))
    (tmp_path / "t.tsv").write_text(TAXONOMY)
    rows = [{"id": str(i), "text": f"{t} {i % 10}", "labels": [n], "k": i} for i, (t, n) in enumerate(TEXTS)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return tmp_path


@pytest.fixture
def hclf(folder, capsys):
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as raised:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return int(raised.value.code or 0), out, err

    return run


def rows(path) -> list[dict]:
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_check_prints_and_gives_json(hclf):
    status, out, _ = hclf("data", "check", "d.jsonl", "-t", "t.tsv")
    assert status == 0
    assert "d.jsonl: 20 documents, 20 with known labels; text: text" in out
    status, out, _ = hclf("data", "check", "d.jsonl", "-t", "t.tsv", "--json")
    assert json.loads(out)["documents"] == 20
    assert json.loads(out)["duplicates"]["texts"] == 10


def test_check_strict_fails_with_one_line(hclf, folder):
    (folder / "bad.jsonl").write_text('{"text": "x", "labels": ["rise"]}\nnot json\n')
    status, out, err = hclf("data", "check", "bad.jsonl", "-t", "t.tsv", "--strict")
    assert status == 1
    assert "did you mean rice?" in out
    assert err.strip().endswith("bad.jsonl: found rows with problems: 1; unknown or ambiguous labels: 1")
    assert hclf("data", "check", "bad.jsonl", "-t", "t.tsv")[0] == 0


def test_check_compares_files(hclf, folder):
    (folder / "test.jsonl").write_text('{"text": "GREEN tea 0", "labels": ["tea"]}\n')
    out = json.loads(hclf("data", "check", "d.jsonl", "test.jsonl", "-t", "t.tsv", "--json")[1])
    assert out["duplicates"]["across_sources"] == 1
    assert out["duplicates"]["examples"] == ["d.jsonl:1 = test.jsonl:1 = d.jsonl:11"]


def test_split_writes_the_parts_with_their_records_unchanged(hclf, folder):
    status, out, _ = hclf("data", "split", "d.jsonl", "-t", "t.tsv", "-o", "parts", "--test", 0.3, "--valid", 0.2)
    assert status == 0
    parts = {name: rows(folder / "parts" / f"{name}.jsonl") for name in ("train", "valid", "test")}
    assert sorted((r for part in parts.values() for r in part), key=lambda r: r["k"]) == rows(folder / "d.jsonl")
    texts = [{r["text"] for r in part} for part in parts.values()]
    assert not texts[0] & texts[1] | texts[0] & texts[2] | texts[1] & texts[2]
    assert "parts/train.jsonl: 10 documents, 3 nodes" in out


def test_split_never_overwrites_without_force_and_repeats_itself(hclf, folder):
    arguments = ("data", "split", "d.jsonl", "-t", "t.tsv", "-o", "parts", "--seed", 4)
    assert hclf(*arguments)[0] == 0
    before = (folder / "parts" / "test.jsonl").read_text()
    assert not (folder / "parts" / "valid.jsonl").exists()
    status, _, err = hclf(*arguments)
    assert (status, "exists; add -f" in err) == (2, True)
    assert hclf(*arguments, "-f")[0] == 0
    assert (folder / "parts" / "test.jsonl").read_text() == before


def test_split_of_other_formats_and_of_stdin(hclf, folder, monkeypatch):
    table = "code,title,tags\n" + "".join(f'{i},"{t}, {i}",{n}\n' for i, (t, n) in enumerate(TEXTS))
    (folder / "d.csv.gz").write_bytes(gzip.compress(table.encode()))
    names = ("--id-field", "code", "--label-field", "tags", "--fields", "title")
    assert hclf("data", "split", "d.csv.gz", "-t", "t.tsv", "-o", "a", *names)[0] == 0
    parts = [gzip.decompress((folder / "a" / f"{p}.csv.gz").read_bytes()).decode() for p in ("train", "test")]
    assert set("".join(parts).splitlines()) == set(table.splitlines())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(table.encode())))
    status, out, _ = hclf("data", "split", "-", "-t", "t.tsv", "-o", "b", *names, "--json")
    assert status == 0
    assert [part["documents"] for part in json.loads(out)["parts"]] == [16, 4]


def test_split_reports_bad_rows_and_strict_fails_before_writing(hclf, folder):
    with (folder / "d.jsonl").open("a") as file:
        file.write('{"text": "x", "labels": ["rise"]}\n{"text"\n')
    status, _, err = hclf("data", "split", "d.jsonl", "-t", "t.tsv", "-o", "a")
    assert status == 0
    assert "d.jsonl:21: unknown label 'rise'; did you mean 'rice'?" in err
    assert "d.jsonl:22: not valid JSON" in err
    status, _, err = hclf("data", "split", "d.jsonl", "-t", "t.tsv", "-o", "b", "--strict")
    assert status == 1
    assert not (folder / "b").exists()


def test_split_shares_that_leave_no_train(hclf):
    assert hclf("data", "split", "d.jsonl", "-t", "t.tsv", "-o", "a", "--test", 0.8, "--valid", 0.3)[0] == 2


def test_synth_writes_marked_documents_and_repeats_itself(hclf, folder):
    arguments = ("data", "synth", "-t", "t.tsv", "-n", 50, "--seed", 3, "--style", "product")
    status, out, err = hclf(*arguments)
    assert status == 0
    assert "50 synthetic documents for t, seed 3" in err
    documents = [json.loads(line) for line in out.splitlines()]
    assert all(d["synthetic"] is True and d["labels"] and d["text"] for d in documents)
    assert hclf(*arguments, "-o", "s.jsonl.gz")[0] == 0
    assert rows(folder / "s.jsonl.gz") == documents
    assert hclf(*arguments, "-o", "s.jsonl.gz")[0] == 2
    assert hclf("data", "check", "s.jsonl.gz", "-t", "t.tsv", "--json")[0] == 0


def test_synth_with_pairs_and_templates_from_files(hclf, folder):
    (folder / "pairs.csv").write_text("a,b\nTea,Rice\n")
    (folder / "own.txt").write_text("We sell {label}\n")
    options = ("--cooccurrence", "pairs.csv", "--templates", "own.txt", "--labels-per-document", 5, "--noise", 0)
    status, out, _ = hclf("data", "synth", "-t", "t.tsv", "-n", 30, *options)
    assert status == 0
    documents = [json.loads(line) for line in out.splitlines()]
    assert sum(d["labels"] == ["rice", "tea"] for d in documents) > 15
    assert all(d["text"].startswith("We sell ") for d in documents)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("check", "nothing.jsonl", "-t", "t.tsv"), 1, "nothing.jsonl: no such file"),
        (("check", "d.jsonl"), 2, "taxonomy"),
        (("check", "d.jsonl", "-t", "t.tsv", "--fields", "titel"), 1, "'titel'"),
        (("synth", "-t", "t.tsv", "--style", "prodct"), 2, "did you mean 'product'"),
        (("synth", "-t", "t.tsv", "--cooccurrence", "nothing.csv"), 1, "nothing.csv: no such file"),
        (("synth", "-t", "t.tsv", "--cooccurrence", "sibling"), 2, "did you mean 'siblings'"),
    ],
)
def test_mistakes_are_one_line_with_the_right_status(hclf, arguments, status, message):
    got, _, err = hclf("data", *arguments)
    assert got == status
    assert message in err
    assert "Traceback" not in err


def test_nothing_to_split_is_a_failure(tmp_path, capsys):
    (tmp_path / "empty.jsonl").write_text("nonsense\n", encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["data", "split", str(tmp_path / "empty.jsonl"), "-t", "products", "-o", str(tmp_path / "parts")])
    assert stopped.value.code == 1
    assert "no usable record; " in capsys.readouterr().err
    assert not (tmp_path / "parts").exists()
