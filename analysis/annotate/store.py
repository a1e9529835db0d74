"""Answers in SQLite: an answer that has been saved is on the disk, whatever happens to the process afterwards.

Nothing is overwritten: a changed answer is a further row, an undone one is marked. What counts is the latest row of an
annotator and item that is not undone (the view ``current``).
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.annotate.answers import Answer
from analysis.annotate.queue import Item, Mode
from analysis.annotate.refusal import Refused
from builder.errors import InputError

NAME = "annotations.sqlite"
APPLICATION = 0x57494D41
"""Says in the file's header whose it is: "WIMA"."""
VERSION = 1
SCHEMA = f"""
CREATE TABLE annotator (annotator_id INTEGER PRIMARY KEY, name TEXT NOT NULL, folded TEXT NOT NULL UNIQUE);
CREATE TABLE item (
    item_id TEXT PRIMARY KEY, prompt_id TEXT NOT NULL, a TEXT NOT NULL, b TEXT, text_a TEXT NOT NULL, text_b TEXT
);
CREATE TABLE answer (
    answer_id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    annotator_id INTEGER NOT NULL REFERENCES annotator,
    item_id TEXT NOT NULL REFERENCES item,
    mode TEXT NOT NULL CHECK (mode IN ('write', 'choose')),
    status TEXT NOT NULL CHECK (status IN ('missing', 'nothing', 'chosen', 'skipped')),
    feedback TEXT NOT NULL,
    rating INTEGER,
    side TEXT CHECK (side IN ('a', 'b', 'tie')),
    shown_first TEXT NOT NULL CHECK (shown_first IN ('a', 'b')),
    informed INTEGER NOT NULL CHECK (informed IN (0, 1)),
    at TEXT NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0 CHECK (undone IN (0, 1))
);
CREATE INDEX answer_of ON answer (annotator_id, item_id);
CREATE TABLE shown (
    annotator_id INTEGER NOT NULL REFERENCES annotator, text_id TEXT NOT NULL, PRIMARY KEY (annotator_id, text_id)
) WITHOUT ROWID;
CREATE VIEW current AS
    SELECT answer.*, name, prompt_id, a, b, text_a, text_b FROM answer JOIN annotator USING (annotator_id)
    JOIN item USING (item_id)
    WHERE NOT undone AND NOT EXISTS (
        SELECT 1 FROM answer AS later WHERE later.annotator_id = answer.annotator_id
        AND later.item_id = answer.item_id AND later.answer_id > answer.answer_id AND NOT later.undone
    );
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""
JOINED = "answer JOIN annotator USING (annotator_id) JOIN item USING (item_id)"


@dataclass(frozen=True)
class Stored:
    """One answer as it lies in the file. ``first``: a where the page showed the completions in the item's order.

    ``informed``: the annotator had been shown a judge's words on one of the texts before.
    """

    answer_id: int
    name: str
    item: Item
    answer: Answer
    first: str
    informed: bool


class Store:
    """The file of answers; safe to use from several threads, and beside other processes."""

    def __init__(self, file: Path, new: bool = True) -> None:
        """``new``: make the file where there is none. Raises InputError if it cannot be used."""
        if not new and not file.is_file():
            raise InputError(f"{file}: does not exist: nobody has annotated yet, or --db names another file")
        self.file = file
        self._lock = threading.Lock()
        with _told(file):
            self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=10)
            self._open()

    def _open(self) -> None:
        self._db.row_factory = sqlite3.Row
        for pragma in ("foreign_keys = ON", "trusted_schema = OFF", "busy_timeout = 10000"):
            self._db.execute(f"PRAGMA {pragma}")
        self._is_empty()  # somebody else's file is not touched
        if self._pragma("journal_mode = WAL") != "wal":
            raise InputError(f"{self.file}: SQLite cannot write ahead on this file system; --db FILE names another one")
        self._db.execute("PRAGMA synchronous = FULL")  # fsync before a commit returns
        with self._transaction():
            if self._is_empty():
                for statement in SCHEMA.split(";\n"):
                    self._db.execute(statement)

    def _is_empty(self) -> bool:
        """Whether the file is new. Raises InputError if it is not ours."""
        made_by, version = self._pragma("application_id"), self._pragma("user_version")
        if (made_by, version) == (0, 0) and not self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
            return True
        if made_by != APPLICATION:
            raise InputError(f"{self.file}: is another program's database")
        if version != VERSION:
            raise InputError(f"{self.file}: was made by another version ({version}, this one reads {VERSION})")
        return False

    def _pragma(self, text: str) -> Any:
        return self._db.execute(f"PRAGMA {text}").fetchone()[0]

    def close(self) -> None:
        """Fold what was written ahead into the file."""
        with self._lock:
            self._db.close()

    def annotators(self) -> list[str]:
        """Names, in the order in which they came."""
        return [row["name"] for row in self._read("SELECT name FROM annotator ORDER BY annotator_id")]

    def enter(self, name: str) -> str:
        """The name as it is known: capital letters do not make another person."""
        with self._writing() as db:
            db.execute("INSERT OR IGNORE INTO annotator (name, folded) VALUES (?, ?)", (name, name.casefold()))
            row = db.execute("SELECT name FROM annotator WHERE folded = ?", (name.casefold(),)).fetchone()
        return str(row["name"])

    def save(self, name: str, mode: Mode, item: Item, answer: Answer, first: str, key: str) -> int:
        """The answer's id, once it is on the disk. With a ``key`` that was used the same answer is not saved twice.

        Raises Refused for an unknown annotator and for another answer under a used key.
        """
        said = (answer.status, answer.feedback, answer.rating, answer.side)
        with self._writing() as db:
            who = self._who(name)
            if known := db.execute("SELECT * FROM answer WHERE key = ?", (key,)).fetchone():
                same = (known["status"], known["feedback"], known["rating"], known["side"]) == said
                if not same or known["undone"] or (known["annotator_id"], known["item_id"]) != (who, item.item_id):
                    raise Refused(409, "Another answer was saved under this key.")
                return int(known["answer_id"])
            self._keep(item)
            informed = self._informed(who, item)
            row = (key, who, item.item_id, mode, *said, first, informed, datetime.now(UTC).isoformat("T", "seconds"))
            places = ", ".join("?" * len(row))
            columns = "key, annotator_id, item_id, mode, status, feedback, rating, side, shown_first, informed, at"
            saved = db.execute(f"INSERT INTO answer ({columns}) VALUES ({places})", row).lastrowid
        return saved or 0

    def last(self, name: str, mode: Mode) -> Stored | None:
        """The annotator's latest answer that is not undone."""
        wanted = f"SELECT * FROM {JOINED} WHERE name = ? AND mode = ? AND NOT undone ORDER BY answer_id DESC LIMIT 1"
        found = self._read(wanted, (name, mode))
        return _stored(found[0]) if found else None

    def undo(self, name: str, mode: Mode, answer_id: int) -> Stored:
        """Take back the latest answer, which must be ``answer_id``; twice is as good as once. Raises Refused."""
        with self._writing() as db:
            who = self._who(name)
            row = db.execute("SELECT * FROM answer WHERE answer_id = ? AND mode = ?", (answer_id, mode)).fetchone()
            if row is None or row["annotator_id"] != who:
                raise Refused(404, "There is no such answer.")
            later = "answer_id > ? AND annotator_id = ? AND mode = ? AND NOT undone"
            if db.execute(f"SELECT 1 FROM answer WHERE {later}", (answer_id, who, mode)).fetchone():
                raise Refused(409, "Other answers came later; take those back first.")
            db.execute("UPDATE answer SET undone = 1 WHERE answer_id = ?", (answer_id,))
            undone = db.execute(f"SELECT * FROM {JOINED} WHERE answer_id = ?", (answer_id,)).fetchone()
        return _stored(undone)

    def of(self, name: str, item: Item) -> Stored | None:
        """The answer that counts."""
        found = self._read("SELECT * FROM current WHERE name = ? AND item_id = ?", (name, item.item_id))
        return _stored(found[0]) if found else None

    def answered(self, name: str, mode: Mode) -> dict[str, str]:
        """By item_id the status of every answer that counts."""
        rows = self._read("SELECT item_id, status FROM current WHERE name = ? AND mode = ?", (name, mode))
        return {row["item_id"]: row["status"] for row in rows}

    def show(self, name: str, item: Item) -> None:
        """Keep that the annotator is shown what judges said of the item's texts."""
        with self._writing() as db:
            rows = [(self._who(name), text) for text in item.texts]
            db.executemany("INSERT OR IGNORE INTO shown VALUES (?, ?)", rows)

    def shown(self, name: str, item: Item) -> bool:
        """Whether the annotator has been shown what judges said of one of the item's texts."""
        with self._lock:
            return self._informed(self._who(name), item)

    def current(self, mode: Mode) -> list[Stored]:
        """Every answer that counts, by item and annotator. Raises InputError if the file is damaged."""
        with _told(self.file):
            rows = self._read("SELECT * FROM current WHERE mode = ? ORDER BY a, b, item_id, name", (mode,))
        return [_stored(row) for row in rows]

    def _who(self, name: str) -> int:
        row = self._db.execute("SELECT annotator_id FROM annotator WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise Refused(404, "This annotator is not known; say your name again.")
        return int(row["annotator_id"])

    def _informed(self, who: int, item: Item) -> bool:
        places = ", ".join("?" * len(item.texts))
        wanted = f"SELECT 1 FROM shown WHERE annotator_id = ? AND text_id IN ({places})"
        return self._db.execute(wanted, (who, *item.texts)).fetchone() is not None

    def _keep(self, item: Item) -> None:
        a, b = (*item.completions, None)[:2]
        text_a, text_b = (*item.texts, None)[:2]
        row = (item.item_id, item.prompt_id, a, b, text_a, text_b)
        self._db.execute("INSERT OR IGNORE INTO item VALUES (?, ?, ?, ?, ?, ?)", row)

    def _read(self, statement: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._transaction():
            yield self._db

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it or nothing, and on the disk when the block has ended."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def _stored(row: Mapping[str, Any] | sqlite3.Row) -> Stored:
    completions = tuple(row[name] for name in ("a", "b") if row[name] is not None)
    texts = tuple(row[name] for name in ("text_a", "text_b") if row[name] is not None)
    item = Item(row["item_id"], row["prompt_id"], completions, texts)
    answer = Answer(row["status"], row["feedback"], row["rating"], row["side"])
    return Stored(row["answer_id"], row["name"], item, answer, row["shown_first"], bool(row["informed"]))


@contextlib.contextmanager
def _told(file: Path) -> Iterator[None]:
    """Errors of SQLite as one clear line that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        raise InputError(f"{file}: cannot be used for answers: {error}") from error
