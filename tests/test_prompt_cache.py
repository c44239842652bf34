"""The cache of answers: shared by threads and processes, and no more trouble than it is worth."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from itertools import count

import pytest

from hclf.errors import HclfError
from hclf.scorers.prompt.engines.cache import AnswerCache, default_path, key_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "prompts.sqlite"


def never():
    raise AssertionError("asked although it was kept")


def test_an_answer_is_asked_for_once(path):
    cache = AnswerCache(path)
    value = {"content": "A \ud800 \u00e9", "tokens": [["A", {"A": -0.5}]]}
    assert cache.fetch("k", lambda: value) == (value, False)
    assert cache.fetch("k", never) == (value, True)
    assert AnswerCache(path).fetch("k", never) == (value, True)
    assert len(cache) == 1
    cache.close()
    assert len(cache) == 1


def test_only_its_owner_reads_it(path):
    AnswerCache(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failure_is_not_kept(path):
    cache = AnswerCache(path)
    with pytest.raises(HclfError, match="no"):
        cache.fetch("k", lambda: (_ for _ in ()).throw(HclfError("no")))
    assert cache.fetch("k", lambda: {"content": "A"}) == ({"content": "A"}, False)


@pytest.mark.parametrize("kept", [True, False])
def test_threads_that_ask_the_same_pay_once(path, kept):
    cache = AnswerCache(path if kept else None)
    asked, go, found = [], threading.Event(), []

    def ask():
        asked.append(1)
        go.wait(5)
        return {"content": "A"}

    threads = [threading.Thread(target=lambda: found.append(cache.fetch("k", ask))) for _ in range(8)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    if kept:  # without a file, a thread that comes late asks anew
        assert len(asked) == 1
        assert sorted(cached for _, cached in found) == [False] + [True] * 7
    assert all(value == {"content": "A"} for value, _ in found)


def test_those_who_wait_share_an_error_but_not_an_interruption():
    cache = AnswerCache(None)
    for error, expected in ((HclfError("no"), "error"), (KeyboardInterrupt(), "A")):
        entered, go, said = threading.Event(), threading.Event(), []

        def fail(error=error, entered=entered, go=go):
            entered.set()
            go.wait(5)
            raise error

        def first(fail=fail):
            with pytest.raises((HclfError, KeyboardInterrupt)):
                cache.fetch("k", fail)

        def second(said=said):
            try:
                said.append(cache.fetch("k", lambda: {"content": "A"})[0]["content"])
            except HclfError:
                said.append("error")

        threads = [threading.Thread(target=first)]
        threads[0].start()
        entered.wait(5)
        threads.append(threading.Thread(target=second))
        threads[1].start()
        while not cache._asked["k"]._condition._waiters:  # until the second waits for the first
            time.sleep(0.001)
        go.set()
        for thread in threads:
            thread.join()
        assert said == [expected]


@pytest.mark.slow
def test_processes_share_a_file(path):
    code = """
import sys
from hclf.scorers.prompt.engines.cache import AnswerCache
cache = AnswerCache(sys.argv[1])
for i in range(100):
    cache.fetch(f"{sys.argv[2]}-{i}", lambda: {"content": str(i)})
"""
    runs = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(2)]
    assert [run.wait(60) for run in runs] == [0, 0]
    cache = AnswerCache(path)
    assert len(cache) == 200
    assert cache.fetch("1-7", never)[0] == {"content": "7"}


def test_a_full_disk_is_told_once_and_the_run_goes_on(path):
    cache = AnswerCache(path)
    pages = cache._connection().execute("PRAGMA page_count").fetchone()[0]
    cache._connection().execute(f"PRAGMA max_page_count = {pages}")  # what SQLite sees of a full disk
    value = {"content": "A" * 1000}
    with pytest.warns(RuntimeWarning, match=r"no longer kept.*full") as warned:
        found = [cache.fetch(str(i), lambda: value) for i in range(20)]
    assert found == [(value, False)] * 20
    assert len(warned) == 1


@pytest.mark.parametrize(
    "content", [b"not a database, but some text that is long enough" * 50, b"SQLite format 3\0junk" * 99]
)
def test_a_damaged_file_is_named(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(HclfError, match=r"prompts\.sqlite .*: remove it") as caught:
        AnswerCache(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_damage_inside_is_named(path):
    with_answers = AnswerCache(path)
    for i in range(200):
        with_answers.fetch(str(i), lambda: {"content": "A" * 500})
    with_answers.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\x5a" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(HclfError, match=r"(damaged|cannot be used).*remove it"):
        AnswerCache(path).fetch("7", lambda: {"content": "A"})


def test_a_damaged_answer_is_named(path):
    cache = AnswerCache(path)
    cache.fetch("k", lambda: {"codes": ["A"]})
    cache._connection().execute("UPDATE answers SET value = '{'")
    with pytest.raises(HclfError, match=r"is damaged .*remove it"):
        cache.fetch("k", never)


def test_who_is_stopped_does_not_stop_those_who_wait(path):
    cache, number = AnswerCache(path), count()

    def ask():
        if next(number) == 0:
            raise CancelledError
        return {"codes": ["A"]}

    with pytest.raises(CancelledError):
        cache.fetch("k", ask)
    assert cache.fetch("k", ask) == ({"codes": ["A"]}, False)


def test_other_databases_are_left_alone(path):
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE notes (text)")
    other.close()
    with pytest.raises(HclfError, match="another program's"):
        AnswerCache(path)


def test_newer_files_are_refused(path):
    cache = AnswerCache(path)
    cache._connection().execute("PRAGMA user_version = 99")
    with pytest.raises(HclfError, match="version 99"):
        AnswerCache(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(HclfError, match="cannot be written"):
        AnswerCache(tmp_path)


def test_keys_depend_on_all_parts_and_not_on_their_order():
    parts = {"model": "m", "codes": ("A", "N"), "sample": 0, "text": "é \ud800"}
    assert key_of(**parts) == key_of(**dict(reversed(parts.items())))
    assert len({key_of(**parts), *(key_of(**parts | {name: "other"}) for name in parts)}) == 5


def test_the_usual_place_is_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HCLF_CACHE_DIR", str(tmp_path))
    assert default_path() == tmp_path / "prompts.sqlite"
    monkeypatch.setenv("HCLF_CACHE", "0")
    assert default_path() is None
