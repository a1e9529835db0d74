"""What the tests share: `wim` in this process, and a small imported run."""

import json
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from browser import browser, open_page  # noqa: F401  (fixtures)

from builder import cli

# A shell starts what it runs in the background deaf to SIGINT, and all that it starts in turn: tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("untimed", deadline=None)  # a loaded machine is no fault of the code
hypothesis.settings.load_profile("untimed")

Wim = Callable[..., int]


@pytest.fixture
def wim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wim:
    """Runs `wim ARGUMENTS` in ``tmp_path`` and gives its exit code."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> int:
        try:
            cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return call


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[[Iterable[Mapping[str, Any]]], Path]:
    """Writes records to a JSONL file."""

    def write(records: Iterable[Mapping[str, Any]], name: str = "records.jsonl") -> Path:
        file = tmp_path / name
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
        return file

    return write
