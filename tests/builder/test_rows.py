"""Resumable work by row: killed at any point, only what is missing is done again."""

import fcntl
import itertools
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder import clean, rows
from builder.errors import TableError
from builder.ids import digest


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compute(keys: Sequence[str], done: list[str] | None = None, part: int = 2, kind: str = "test") -> pa.Table:
    """Rows that hold their item twice over; ``done`` collects the items that were worked out."""

    def work(missing: Iterator[str], _: rows.Done) -> Iterator[rows.Batch]:
        place = 0
        while chunk := list(itertools.islice(missing, part)):
            if done is not None:
                done.extend(chunk)
            yield range(place, place + len(chunk)), doubled(chunk)
            place += len(chunk)

    return rows.compute(kind, {"model": "m"}, keyed(keys), work, "test", len(keys)).table()


def keyed(keys: Sequence[str]) -> Iterator[tuple[bytes, str]]:
    return ((digest(key), key) for key in keys)


def doubled(keys: Sequence[str]) -> pa.Table:
    return pa.table({"text": [key * 2 for key in keys], "n": pa.array([len(key) for key in keys], pa.int32())})


def parts() -> list[Path]:
    return sorted(Path(".wim").rglob("*.parquet"))


def test_rows_come_in_the_order_of_their_keys_and_are_worked_out_once() -> None:
    done: list[str] = []
    first = compute(["c", "a", "b"], done)
    assert first.to_pydict() == {"text": ["cc", "aa", "bb"], "n": [1, 1, 1]}
    assert compute(["b", "d", "a"], done)["text"].to_pylist() == ["bb", "dd", "aa"]
    assert done == ["c", "a", "b", "d"]


def test_rows_may_be_asked_for_twice() -> None:
    assert compute(["a", "b", "a", "a"])["text"].to_pylist() == ["aa", "bb", "aa", "aa"]


def test_without_keys_nothing_is_done_and_nothing_is_there() -> None:
    compute(["a"])
    for kind in ("test", "new"):
        assert compute([], kind=kind).num_rows == 0
    assert not Path(".wim/new").exists()


def test_other_settings_are_other_rows() -> None:
    done: list[str] = []
    compute(["a"], done)
    rows.compute("test", {"model": "n"}, keyed(["a"]), lambda missing, _: [([0], doubled(list(missing)))], "test", 1)
    assert compute(["a"], done)["text"].to_pylist() == ["aa"]
    assert done == ["a"]
    assert len(parts()) == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign", "not a table"])
def test_a_damaged_part_is_named_and_only_its_rows_are_done_again(
    damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    keys = ["a" * 50, "b" * 50, "c", "d", "e", "f"]
    whole = compute(keys)
    part = next(file for file in parts() if keys[0] * 2 in pq.read_table(file)["text"].to_pylist())
    content = part.read_bytes()
    if damage == "foreign":
        pq.write_table(pa.table({"other": [1]}), part)
    else:
        last = pq.read_metadata(part).row_group(0).column(1)  # the texts'
        place = last.data_page_offset + last.total_compressed_size - 3
        place -= last.data_page_offset - (last.dictionary_page_offset or last.data_page_offset)
        flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        part.write_bytes({"empty": b"", "cut": content[:-9], "flipped": flipped}.get(damage, b"text"))
    done: list[str] = []
    assert compute(keys, done).equals(whole)
    assert sorted(done) == sorted(keys[:2])
    assert f"{part}: damaged, its rows are done again" in capfd.readouterr().err
    done.clear()
    assert compute(keys, done).equals(whole)
    assert done == []


def test_rows_that_nobody_made_are_null() -> None:
    def some(missing: Iterator[str], _: rows.Done) -> Iterator[rows.Batch]:
        for place, item in enumerate(missing):
            if item in "bg":
                yield [place], doubled([item])

    done = rows.compute("test", {}, keyed("abcdefgh"), some, "test", 8)
    assert (len(done), done.missing()) == (8, 6)
    texts = [block["text"].to_pylist() for block in done.blocks(2, ["text"])]
    assert texts == [[None, "bb"], [None, None], [None, None], ["gg", None]]
    nothing = rows.compute("none", {}, keyed("ab"), lambda missing, _: iter([*missing][:0]), "test", 2)
    assert [block["text"].to_pylist() for block in nothing.blocks(columns=["text"])] == [[None, None]]


def test_rows_finished_in_any_order_are_read_in_the_order_asked_for() -> None:
    def backwards(missing: Iterator[str], _: rows.Done) -> Iterator[rows.Batch]:
        for place, item in reversed(list(enumerate(missing))):
            yield [place], doubled([item])

    done = rows.compute("test", {}, keyed("abcdefgh"), backwards, "test", 8)
    assert "".join(text[0] for block in done.blocks(3, ["text"]) for text in block["text"].to_pylist()) == "abcdefgh"


def test_rows_that_are_still_read_are_not_cleaned_away() -> None:
    def all_at_once(missing: Iterator[str], _: rows.Done) -> Iterator[rows.Batch]:
        yield [0, 1], doubled(list(missing))

    done = rows.compute("complete", {}, keyed("ab"), all_at_once, "test", 2)
    assert [kept.kind for kept in clean.run((), True, None, False).busy] == ["complete"]
    assert done.table()["text"].to_pylist() == ["aa", "bb"]
    del done
    assert [kept.kind for kept in clean.run((), True, None, False).removed] == ["complete"]


def test_an_error_in_the_work_keeps_the_parts_that_were_done() -> None:
    def work(missing: Iterator[str], _: rows.Done) -> Iterator[rows.Batch]:
        yield [0, 1], doubled([next(missing), next(missing)])
        yield [3, 2], doubled([next(missing), next(missing)][::-1])  # in the order in which they are finished
        raise ZeroDivisionError

    keys = list("abcdef")
    with pytest.raises(ZeroDivisionError):
        rows.compute("test", {"model": "m"}, keyed(keys), work, "test", len(keys))
    done: list[str] = []
    compute(keys, done)
    assert done == ["e", "f"]
    assert compute(keys)["text"].to_pylist() == [key * 2 for key in keys]


def test_a_disk_that_cannot_be_written_to_is_a_clear_error(here: Path) -> None:
    (here / ".wim").write_text("a file where the folder should be")
    with pytest.raises(TableError, match=r"\.wim/test/.*: cannot be written"):
        compute(["a"])


WORKER = """
import itertools, sys, time
import pyarrow as pa
from builder import rows
from builder.ids import digest

keys = [f"key {i}" for i in range(40)]

def work(missing, done):
    place = 0
    while chunk := list(itertools.islice(missing, 4)):
        with open("log", "a") as log:
            log.write("".join(key + "\\n" for key in chunk))
        if len(sys.argv) > 1 and chunk[0] == f"key {sys.argv[1]}":
            print("working", flush=True)
            time.sleep(600)
        yield range(place, place + 4), pa.table({"text": [key * 2 for key in chunk]})
        place += 4

table = rows.compute("test", {}, ((digest(key), key) for key in keys), work, "test", len(keys)).table()
print(table["text"].to_pylist() == [key * 2 for key in keys])
"""


def worker(*arguments: str) -> "subprocess.Popen[str]":
    root = str(Path(rows.__file__).parents[1])
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{WORKER}", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_in_the_middle_only_the_missing_rows_are_done_again(here: Path) -> None:
    with worker("20") as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "working\n"
        killed.send_signal(signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    left = next(iter(parts())).parent / ".part.parquet.99999.tmp"
    left.write_text("what a process killed while writing leaves")
    with worker() as second:
        assert second.communicate()[0] == "True\n"
    log = (here / "log").read_text().splitlines()
    assert sorted(log) == sorted([f"key {i}" for i in range(40)] + [f"key {i}" for i in range(20, 24)])
    assert not left.exists()


def test_a_second_process_waits_and_says_so(here: Path) -> None:
    compute(["a"])
    (folder,) = {file.parent for file in parts()}
    with worker("20") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "working\n"
        with worker() as second:
            assert second.stderr is not None
            assert "another process works on the same rows" in second.stderr.readline()
            assert second.poll() is None
            first.kill()
            assert second.communicate()[0] == "True\n"
    log = (here / "log").read_text().splitlines()
    assert log.count("key 0") == 1
    with (folder / "lock").open("w") as lock:  # other settings were never held up
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@settings(max_examples=40, deadline=None)
@given(runs=st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=8), max_size=4), part=st.integers(1, 5))
def test_whatever_was_done_before_the_rows_are_the_same(
    runs: list[list[str]], part: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("rows"))
        done: list[str] = []
        for keys in runs:
            assert (compute(keys, done, part).to_pydict().get("text") or []) == [key * 2 for key in keys]
        assert set(done) == {key for keys in runs for key in keys}
