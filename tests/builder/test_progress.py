"""One line that says how far a stage is: seen on a real terminal, and nowhere else."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.progress import CLEAR, Progress

Wim = Callable[..., int]
ROOT = Path(__file__).parents[2]
COMPLETE = ("complete", "runs/a/0", "--set", "engine.name=echo")


@pytest.fixture
def folder(wim: Wim, write_jsonl: Any, tmp_path: Path) -> Path:
    write_jsonl([{"prompt": f"Tell me about thing number {i}, please"} for i in range(300)], "prompts.jsonl")
    assert wim("prompts", "runs", "--set", "prompts.source=prompts.jsonl") == 0
    return tmp_path


def on_a_terminal(folder: Path, arguments: Sequence[str], columns: int = 80) -> list[str]:
    """Each state of the line that `wim ARGUMENTS` shows on a terminal so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "builder.cli", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    shown = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    assert process.wait() == 0, shown
    line, *states = shown.decode().split("\r")
    assert (line, states.pop()) == ("", "\n")
    assert all(state.endswith(CLEAR) for state in states)
    return [state.removesuffix(CLEAR) for state in states]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # this is how Linux tells that nobody holds the other end any more
        return b""


def test_a_terminal_shows_rows_speed_and_time_left(folder: Path) -> None:
    shown = on_a_terminal(folder, COMPLETE)
    assert shown[0] == "complete: 0 of 1,200 rows"
    line = r"complete: [\d,]+ of 1,200 rows, [\d.,]+ rows/s, [\d.,]+ tokens/s, \d:\d\d:\d\d left"
    for state in shown[1:]:
        assert re.fullmatch(line, state), state
        assert len(state) < 80
    assert shown[-1].startswith("complete: 1,200 ")
    assert shown[-1].endswith(" 0:00:00 left")


def test_rows_from_before_are_told_apart(folder: Path) -> None:
    on_a_terminal(folder, [*COMPLETE, "--set", "complete.n=1"])
    shown = on_a_terminal(folder, COMPLETE, columns=120)
    assert "of 1,200 rows, 300 from before, " in shown[-1]
    assert shown[-1].startswith("complete: 1,200 ")
    assert on_a_terminal(folder, COMPLETE)[-1] == "complete: 1,200 of 1,200 rows, 1,200 from before"


def test_nothing_is_shown_where_stderr_is_no_terminal(folder: Path) -> None:
    command = [sys.executable, "-m", "builder.cli", *COMPLETE]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def line(width: int, kept: int = 0, tokens: int = 180) -> str:
    """Half of a million rows, 1,000 of them worked out in 100 seconds."""
    progress = Progress("judge, attempt 0", 1_000_000)
    progress.from_before(kept)
    progress.done(1000, 1000 * tokens)
    return progress.line(100.0, width)


def test_the_speed_is_that_of_the_rows_that_were_worked_out() -> None:
    whole = "judge, attempt 0: 500,000 of 1,000,000 rows, 499,000 from before, 10 rows/s, 1,800 tokens/s, 13:53:20 left"
    assert line(200, 499_000) == whole
    assert "tokens" not in line(200, tokens=0)


@pytest.mark.parametrize("width", [100, 79, 70, 60, 20])
def test_a_narrow_terminal_keeps_rows_and_time_left(width: int) -> None:
    narrow = line(width, 499_000)
    assert len(narrow) <= width
    assert narrow.startswith("judge, attempt 0: 500,000 of 1,000,000 rows"[:width])
    assert narrow.endswith(" left") or width == 20


def test_a_slow_engine_has_a_speed_too() -> None:
    progress = Progress("complete", 10)
    progress.done(1, 0)
    assert progress.line(300.0, 79) == "complete: 1 of 10 rows, 0.0033 rows/s, 0:45:00 left"
