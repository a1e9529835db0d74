"""Answers in SQLite: durable, append-only, and what counts of them."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.annotate import queue
from analysis.annotate.answers import Answer
from analysis.annotate.refusal import Refused
from analysis.annotate.store import Store
from builder import ids
from builder.errors import InputError

ITEMS = [queue.item("p", (f"c{i}",), (ids.text_id(f"text {i}"),)) for i in range(5)]
NOTHING = Answer("nothing")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "a.sqlite")
    opened.enter("ana")
    yield opened
    opened.close()


def missing(text: str, rating: int | None = None) -> Answer:
    return Answer("missing", text, rating)


def save(store: Store, item: int, answer: Answer, key: str, name: str = "ana") -> int:
    return store.save(name, "write", ITEMS[item], answer, "a", key)


def test_every_commit_is_written_ahead_and_synced(store: Store) -> None:
    assert store._pragma("journal_mode") == "wal"
    assert store._pragma("synchronous") == 2  # FULL: fsync before the commit returns


def test_what_is_saved_is_seen_by_another_process_at_once(store: Store) -> None:
    save(store, 0, missing("the date\x00 'quoted' \u202e 🙂", 7), "k")
    with sqlite3.connect(f"file:{store.file}?mode=ro", uri=True) as other:
        assert other.execute("SELECT feedback, rating FROM current").fetchall() == [
            ("the date\x00 'quoted' \u202e 🙂", 7)
        ]


def test_nothing_is_overwritten_and_the_latest_counts(store: Store) -> None:
    save(store, 0, missing("first"), "1")
    save(store, 0, missing("second"), "2")
    found = store.of("ana", ITEMS[0])
    assert found
    assert found.answer.feedback == "second"
    with sqlite3.connect(store.file) as other:
        assert other.execute("SELECT count(*) FROM answer").fetchone() == (2,)


def test_undo_goes_back_step_by_step_to_the_answer_before(store: Store) -> None:
    first, second = save(store, 0, missing("first"), "1"), save(store, 0, missing("second"), "2")
    third = save(store, 1, NOTHING, "3")
    with pytest.raises(Refused, match="later"):
        store.undo("ana", "write", second)
    assert store.undo("ana", "write", third).answer == NOTHING
    assert store.of("ana", ITEMS[1]) is None
    assert store.undo("ana", "write", second).answer.feedback == "second"
    found = store.of("ana", ITEMS[0])
    assert found
    assert (found.answer_id, found.answer.feedback) == (first, "first")
    assert store.last("ana", "write") == found


def test_an_undo_that_is_sent_twice_is_done_once(store: Store) -> None:
    first, second = save(store, 0, missing("first"), "1"), save(store, 1, NOTHING, "2")
    store.undo("ana", "write", second)
    store.undo("ana", "write", second)
    last = store.last("ana", "write")
    assert last
    assert last.answer_id == first


def test_nobody_takes_back_anothers_answer(store: Store) -> None:
    answer = save(store, 0, NOTHING, "1")
    store.enter("ben")
    with pytest.raises(Refused, match="no such answer"):
        store.undo("ben", "write", answer)


def test_an_answer_that_is_sent_twice_is_saved_once(store: Store) -> None:
    assert save(store, 0, missing("same"), "key") == save(store, 0, missing("same"), "key")
    with pytest.raises(Refused, match="key"):
        save(store, 0, missing("other"), "key")
    with pytest.raises(Refused, match="key"):
        save(store, 1, missing("same"), "key")
    last = store.last("ana", "write")
    assert last
    store.undo("ana", "write", last.answer_id)
    with pytest.raises(Refused, match="key"):  # it would look saved, and count for nothing
        save(store, 0, missing("same"), "key")


def test_names_are_one_person_however_they_are_written(store: Store) -> None:
    assert store.enter("ANA") == "ana"
    assert store.enter("Åsa") == "Åsa"
    assert store.enter("åsa") == "Åsa"
    assert store.annotators() == ["ana", "Åsa"]


def test_who_is_shown_the_judges_words_is_remembered_by_text(store: Store) -> None:
    save(store, 0, NOTHING, "1")
    store.show("ana", ITEMS[0])
    pair = queue.item("p", ("c0", "c1"), (ITEMS[0].texts[0], ITEMS[1].texts[0]))
    store.save("ana", "choose", pair, Answer("chosen", side="a"), "a", "2")
    store.enter("ben")
    store.save("ben", "choose", pair, Answer("chosen", side="b"), "b", "3")
    assert [(each.name, each.informed, each.first) for each in store.current("choose")] == [
        ("ana", True, "a"),
        ("ben", False, "b"),
    ]
    assert not store.current("write")[0].informed


def test_many_threads_and_two_processes_lose_nothing(store: Store) -> None:
    beside = Store(store.file)
    names = [f"annotator {i}" for i in range(4)]

    def work(opened: Store, name: str) -> None:
        opened.enter(name)
        for place in range(25):
            opened.save(name, "write", ITEMS[place % 5], missing(f"{name} {place}"), "a", f"{name} {place}")

    threads = [
        threading.Thread(target=work, args=(each, name)) for name, each in zip(names, [store, beside] * 2, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    beside.close()
    with sqlite3.connect(store.file) as other:
        assert other.execute("SELECT count(*), count(DISTINCT feedback) FROM answer").fetchone() == (100, 100)
    assert len(store.current("write")) == 20


def test_a_full_disk_leaves_no_half_answer(store: Store) -> None:
    pages = store._pragma("page_count")
    store._db.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        save(store, 0, missing("x" * 50_000), "1")
    assert store.current("write") == []
    store._db.execute("PRAGMA max_page_count = 100000")
    save(store, 0, missing("x" * 50_000), "1")
    assert store._pragma("integrity_check") == "ok"


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "f.sqlite"
    opened = Store(file)
    opened.enter("ana")
    save(opened, 0, missing("x" * 50_000), "1")
    opened.close()
    content = file.read_bytes()
    file.write_bytes(content[:-20_000] + b"\xff" * 20_000)  # in the long answer
    damaged = Store(file)
    with pytest.raises(InputError, match=r"f\.sqlite: cannot be used for answers"):
        damaged.current("write")
    damaged.close()


@pytest.mark.parametrize("content", [b"not a database, but long enough to be read as one" * 40, b"{}"])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "f.sqlite"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"f\.sqlite"):
        Store(file)
    assert file.read_bytes() == content


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "f.sqlite"
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = file.read_bytes()
    with pytest.raises(InputError, match="another program"):
        Store(file)
    assert file.read_bytes() == before


def test_a_file_of_another_version_is_told(tmp_path: Path) -> None:
    file = tmp_path / "f.sqlite"
    Store(file).close()
    with sqlite3.connect(file) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(InputError, match="version"):
        Store(file)
