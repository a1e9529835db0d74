"""docs/troubleshooting.md: what it quotes the program says, and what it advises is there."""

import re
import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docs_folder
import pytest
from documented import ROOT

from builder import params, rows
from builder.arguments import parser
from builder.statuses import Reason

Wim = Callable[..., int]
Write = Callable[..., Path]
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in (ROOT / "docs/troubleshooting.md").read_text().splitlines()
    if line.startswith("| ")
][1:]
OTHERS = {"command not found", "dvc repro", ".wim/"}
"""Quoted, and not said by the program."""


def quoted(cell: str) -> list[str]:
    return re.findall("`([^`]+)`", cell)


def unreadable(wim: Wim, write: Write) -> None:
    answers = ("It is fine.", "Rating: [[7]] WIM: [[[what is missing]]]")
    file = write({"prompt": "Why?", "completion": f"Because {n}.", "raw": raw} for n, raw in enumerate(answers))
    assert wim("build", file, "--out", "run") == wim("stats", "run") == 0


def ratable(wim: Wim, write: Write) -> None:
    file = write({"prompt": "Why?", "completion": f"Because {n}.", "feedback": f"a {n}"} for n in range(2))
    assert wim("ingest", file, "--out", "run") == wim("embed", "run") == 0
    assert wim("rate", "run", "--set", "rate.method=numerical") == 0


def tied(wim: Wim, write: Write) -> None:
    file = write({"prompt": "Why?", "completion": f"Because {n}.", "rating": 7} for n in range(2))
    assert wim("build", file, "--out", "run", "--set", "rate.method=numerical") == 0


def too_few(wim: Wim, write: Write) -> None:
    file = write([{"prompt": "Why?", "completion": "Because.", "feedback": "the reason"}])
    assert wim("build", file, "--out", "run") == 0


def warned(wim: Wim, write: Write) -> None:
    assert wim("build", write(docs_folder.critiques()), "--out", "run") == 0


def rejected(wim: Wim, write: Write) -> None:
    file = write([{"prompt": "Why?", "completion": "Because.", "feedback": ""}, {"prompt": "Why?"}])
    assert wim("build", file, "--out", "run") == 0
    assert Path("run/rejected.jsonl").read_text().count("\n") == 1


def untrainable(wim: Wim, write: Write) -> None:
    said = ("the reason", "")
    file = write({"prompt_id": "q", "completion": f"Because {n}.", "feedback": text} for n, text in enumerate(said))
    assert wim("build", file, "--out", "run") == 0
    assert wim("train", "dpo", "run") == 1


def locked(wim: Wim, write: Write) -> None:
    """Whoever comes second waits for the first, here a thread for another."""
    del wim, write
    folder = Path(".wim/embed/made").resolve()

    def second() -> None:
        with rows.lock(folder):
            pass

    waiting = threading.Thread(target=second)
    with rows.lock(folder):
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
    waiting.join(30)
    assert not waiting.is_alive()


SCENES: dict[str, Callable[[Wim, Write], None]] = {
    "unreadable": unreadable,
    "ratable 0": ratable,
    "tied": tied,
    "too few": too_few,
    "it may count letters": warned,
    "Feedback is generic": warned,
    "rejected": rejected,
    "pairs hold no prompt text": untrainable,
    "another process works on the same rows": locked,
}


@pytest.mark.parametrize("message", SCENES)
def test_what_is_quoted_is_said(message: str, wim: Wim, write_jsonl: Write, capfd: pytest.CaptureFixture[str]) -> None:
    SCENES[message](wim, write_jsonl)
    said = "".join(capfd.readouterr())
    assert re.search(rf"[1-9]\d* {message}\b", said) or (message not in ("tied", "too few") and message in said), said


def test_every_quotation_has_its_scene() -> None:
    found = {text for seen, _ in ROWS for text in quoted(seen) if not text.startswith("wim ")}
    assert found - OTHERS == set(SCENES)


def test_what_is_advised_is_there() -> None:
    options = {option for command in commands() for action in command._actions for option in action.option_strings}
    for _, advice in ROWS:
        for text in quoted(advice):
            if text.startswith("wim "):
                parser().parse_args(shlex.split(text)[1:])
            elif text.startswith("--"):
                assert text in options
            elif re.match(r"[a-z]+\.[a-z_]+", text):
                key, _, value = text.partition(": ")
                assert is_parameter(key)
                params.load(None, [f"{key}={value}"] if value else [])
            else:
                assert text in set(Reason) or text in known(), text


def commands() -> list[Any]:
    [choices] = [action.choices for action in parser()._actions if isinstance(action.choices, dict)]
    return list(choices.values())


def is_parameter(key: str) -> bool:
    found: Any = params.load(None)
    for part in key.split("."):
        found = getattr(found, part)
    return True


def known() -> set[str]:
    """What is advised and is neither an option, a parameter nor a reason."""
    words = {".wim/", "builder/", "dvc status", "make setup", ". .venv/bin/activate", "OMP_NUM_THREADS=1"}
    return words | {"prompt", "prompt_id"}
