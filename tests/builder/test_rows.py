"""Resumable work by row: killed at any point, only what is missing is done again."""

import fcntl
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder import rows
from builder.errors import TableError

Compute = Callable[..., pa.Table]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compute(keys: Sequence[str], done: list[str] | None = None, part: int = 2, kind: str = "test") -> pa.Table:
    """Rows that hold their key twice over; ``done`` collects the keys that were worked out."""

    def work(chunk: list[int]) -> pa.Table:
        if done is not None:
            done.extend(keys[i] for i in chunk)
        return pa.table(
            {"text": [keys[i] * 2 for i in chunk], "n": pa.array([len(keys[i]) for i in chunk], pa.int32())}
        )

    return rows.compute(kind, {"model": "m"}, keys, work, "test", part=part)


def parts() -> list[Path]:
    return sorted(Path(".wim").rglob("*.parquet"))


def test_rows_come_in_the_order_of_their_keys_and_are_worked_out_once() -> None:
    done: list[str] = []
    first = compute(["c", "a", "b"], done)
    assert first.to_pydict() == {"text": ["cc", "aa", "bb"], "n": [1, 1, 1]}
    assert compute(["b", "d", "a"], done)["text"].to_pylist() == ["bb", "dd", "aa"]
    assert done == ["c", "a", "b", "d"]


def test_equal_keys_are_one_row() -> None:
    done: list[str] = []
    assert compute(["a", "b", "a", "a"], done)["text"].to_pylist() == ["aa", "bb", "aa", "aa"]
    assert done == ["a", "b"]


def test_without_keys_nothing_is_done_and_nothing_is_there() -> None:
    compute(["a"])
    for kind in ("test", "new"):
        assert compute([], kind=kind).num_rows == 0
    assert not Path(".wim/new").exists()


def test_other_settings_are_other_rows() -> None:
    done: list[str] = []
    compute(["a"], done)
    rows.compute("test", {"model": "n"}, ["a"], lambda _: pa.table({"text": ["other"]}), "test")
    assert compute(["a"], done)["text"].to_pylist() == ["aa"]
    assert done == ["a"]
    assert len(parts()) == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign", "not a table"])
def test_a_damaged_part_is_named_and_only_its_rows_are_done_again(
    damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    keys = ["a" * 50, "b" * 50, "c", "d", "e", "f"]
    whole = compute(keys)
    part = next(file for file in parts() if keys[0] in pq.read_table(file)["key"].to_pylist())
    content = part.read_bytes()
    if damage == "foreign":
        pq.write_table(pa.table({"other": [1]}), part)
    else:
        flipped = content[:60] + bytes([content[60] ^ 1]) + content[61:]
        part.write_bytes({"empty": b"", "cut": content[:-9], "flipped": flipped}.get(damage, b"text"))
    done: list[str] = []
    assert compute(keys, done).equals(whole)
    assert sorted(done) == sorted(keys[:2])
    assert f"{part}: damaged, its rows are done again" in capfd.readouterr().err
    done.clear()
    assert compute(keys, done).equals(whole)
    assert done == []


def test_an_error_in_the_work_keeps_the_parts_that_were_done() -> None:
    def work(chunk: list[int]) -> pa.Table:
        if chunk[0] >= 4:
            raise ZeroDivisionError
        return pa.table({"text": [keys[i] * 2 for i in chunk], "n": pa.array([1] * len(chunk), pa.int32())})

    keys = list("abcdef")
    with pytest.raises(ZeroDivisionError):
        rows.compute("test", {"model": "m"}, keys, work, "test", part=2)
    done: list[str] = []
    compute(keys, done)
    assert done == ["e", "f"]


def test_a_disk_that_cannot_be_written_to_is_a_clear_error(here: Path) -> None:
    (here / ".wim").write_text("a file where the folder should be")
    with pytest.raises(TableError, match=r"\.wim/test/.*: cannot be written"):
        compute(["a"])


WORKER = """
import sys, time
import pyarrow as pa
from builder import rows

keys = [f"key {i}" for i in range(40)]

def work(chunk):
    with open("log", "a") as log:
        log.write("".join(keys[i] + "\\n" for i in chunk))
    if len(sys.argv) > 1 and chunk[0] >= int(sys.argv[1]):
        print("working", flush=True)
        time.sleep(600)
    return pa.table({"text": [keys[i] * 2 for i in chunk]})

table = rows.compute("test", {}, keys, work, "test", part=4)
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
        assert sorted(done) == sorted({key for keys in runs for key in keys})
