"""The fuzzer, for a few seconds; `python tests/fuzz.py` runs it for as long as one likes."""

from typing import Any

import fuzz
import pytest

from builder.imported import collected
from builder.judges.wim import Judge


def test_the_parser_reads_anything() -> None:
    counts = fuzz.parser(4000, seed=0)
    assert sum(counts.values()) == 4000
    assert len(counts) >= 6  # every way in which an answer can be readable or not


def test_ingest_takes_any_lines() -> None:
    counts = fuzz.ingestion(3000, seed=0)
    assert counts["records"] == 3000 + 3  # and the known one of each file
    assert min(counts.values()) > 0


def test_a_seed_gives_the_same_inputs() -> None:
    assert fuzz.parser(200, seed=5) == fuzz.parser(200, seed=5) != fuzz.parser(200, seed=6)


def test_an_input_that_the_parser_fails_on_is_shown_as_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Judge.read

    def faulty(self: Judge, raw: str, finish_reason: str | None = None) -> Any:
        if "日" in raw:
            raise ValueError("no Japanese")
        return read(self, raw, finish_reason)

    monkeypatch.setattr(Judge, "read", faulty)
    with pytest.raises(fuzz.Failure, match=r"ValueError\('no Japanese'\).*\\u65e5") as failure:
        fuzz.parser(2000, seed=0)
    assert str(failure.value).isascii()


def test_the_one_line_that_ingest_fails_on_is_found_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    add = collected._add

    def faulty(made: Any, fields: Any, said: Any) -> bool:
        if "source" in fields:
            raise ValueError("no sources")
        return add(made, fields, said)

    monkeypatch.setattr(collected, "_add", faulty)
    with pytest.raises(fuzz.Failure, match="these lines are enough") as failure:
        fuzz.ingestion(200, seed=0)
    assert len(str(failure.value).splitlines()) == 2
    assert str(failure.value).isascii()
