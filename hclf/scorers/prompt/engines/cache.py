"""What a server answered, on disk: asking again costs nothing, and a run that was killed goes on where it was.

One SQLite file. Its keys are hashes of all that an answer depends on, its values codes and numbers: neither
documents nor what a model wrote about them can be read in it. Each answer is committed at once: whatever ends the
process, what was paid for is there. Several threads and processes may use the file together.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

from hclf.errors import HclfError
from hclf.formats import cache as compiled

NAME = "prompts.sqlite"
APPLICATION = 0x68636C66  # "hclf", in the header of the file: what tells it from other programs' databases
VERSION = 1
WAIT = 30  # seconds for another process that is writing
Value = dict[str, Any]


def default_path() -> Path | None:
    """Return where answers are kept unless said otherwise: beside compiled taxonomies; None if caches are off."""
    return compiled.folder() / NAME if compiled.enabled() else None


def key_of(**parts: Any) -> str:
    """Return the key of an answer from everything it depends on, as JSON-able values.

    >>> key_of(model="m", sample=0) == key_of(sample=0, model="m") != key_of(model="m", sample=1)
    True
    """
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


class AnswerCache:
    """Answers by key.

    >>> cache = AnswerCache(None)
    >>> cache.fetch("k", lambda: {"codes": ["A"]})
    ({'codes': ['A']}, False)
    """

    def __init__(self, path: str | Path | None) -> None:
        """Open the file, or make it.

        Args:
            path: of the file; its folder is made. None: nothing is kept, only what is being asked is asked once.

        Raises:
            HclfError: the file cannot be opened, is damaged, or is not such a cache.
        """
        self.path = None if path is None else Path(path).expanduser()
        self._lock = threading.Lock()
        self._asked: dict[str, Future[Value]] = {}
        self._database: sqlite3.Connection | None = None
        self._process = 0
        self._off = path is None
        if not self._off:
            self._connection()

    def fetch(self, key: str, ask: Callable[[], Value]) -> tuple[Value, bool]:
        """Return the answer to a key and whether it was there, else ask for it and keep it.

        Threads that want the same key at the same time wait for the one that asks, and share its answer or error.

        Raises:
            HclfError: from `ask`, or the file is damaged.
            CancelledError: from `ask`; those who wait then ask themselves.
        """
        while True:
            with self._lock:
                asked = self._asked.get(key)
                if asked is None:
                    mine = self._asked[key] = Future()
                    break
            with contextlib.suppress(CancelledError):  # whoever asked was interrupted: it is our turn
                return asked.result(), True
        try:
            value, cached = self._fetch(key, ask)
            mine.set_result(value)
        except CancelledError:
            raise
        except Exception as error:
            mine.set_exception(error)
            raise
        finally:
            mine.cancel()  # does nothing once there is a result
            with self._lock:
                del self._asked[key]
        return value, cached

    def _fetch(self, key: str, ask: Callable[[], Value]) -> tuple[Value, bool]:
        rows = self._run("SELECT value FROM answers WHERE key = ?", (key,))
        if rows:
            return self._value(rows[0][0]), True
        value = ask()
        text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
        self._run("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, text))
        return value, False

    def _value(self, text: str) -> Value:
        try:
            value: Value = json.loads(text)
        except ValueError as error:
            raise self._unusable(f"is damaged ({error})") from None
        return value

    def close(self) -> None:
        """Close the file. What is asked afterwards opens it again."""
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database = None

    def __len__(self) -> int:
        """Return how many answers are kept."""
        rows = self._run("SELECT count(*) FROM answers")
        return int(rows[0][0]) if rows else 0

    # -- the file ----------------------------------------------------------------------------------------------

    def _run(self, statement: str, values: tuple[str, ...] = ()) -> list[Any]:
        """Run a statement and commit it; [] once the cache had to be given up."""
        if self._off:
            return []
        try:
            with self._lock:
                return self._connection().execute(statement, values).fetchall()
        except sqlite3.OperationalError as error:  # full, read-only, locked for too long: an answer matters more
            self._give_up(error)
            return []
        except sqlite3.DatabaseError as error:
            raise self._unusable(f"is damaged ({error})") from None

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            first, self._off = not self._off, True
        if first:
            message = f"answers are no longer kept in {self.path}: {error}; a run that is repeated will ask again"
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    def _connection(self) -> sqlite3.Connection:
        """Return the connection; one that a process inherited is not its own."""
        if self._database is None or self._process != os.getpid():
            self._database, self._process = self._open(), os.getpid()
            weakref.finalize(self, self._database.close).atexit = False  # a thread may be writing at the exit
        return self._database

    def _open(self) -> sqlite3.Connection:
        path = self.path or Path()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # what was asked is nobody else's business
            database = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
            self._prepare(database)
        except OSError as error:
            raise self._unusable(f"cannot be written ({error.strerror or error})") from None
        except sqlite3.DatabaseError as error:
            raise self._unusable(f"cannot be used ({error})") from None
        return database

    def _prepare(self, database: sqlite3.Connection) -> None:
        """Make an empty file a cache; refuse one that is something else."""
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        application = database.execute("PRAGMA application_id").fetchone()[0]
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if (tables or application) and application != APPLICATION:
            raise self._unusable("is another program's database")
        if version > VERSION:
            raise self._unusable(f"has version {version}, this hclf reads up to {VERSION}")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")  # safe from a killed process; not from a power cut
        if version < VERSION:
            database.execute("BEGIN IMMEDIATE")  # two processes may be making it at once
            database.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
            )
            database.execute(f"PRAGMA application_id = {APPLICATION}")
            database.execute(f"PRAGMA user_version = {VERSION}")
            database.execute("COMMIT")

    def _unusable(self, why: str) -> HclfError:
        return HclfError(
            f"the cache of answers {self.path} {why}: remove it, name another file, or go without (cache=False)"
        )
