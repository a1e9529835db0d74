"""A record, and a bad one, which is told on stderr, counted and kept."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from builder import tables
from builder.errors import InputError
from builder.remote.locations import named

SHOWN = 10


class Record(NamedTuple):
    """``line`` counts from 1: the line of a JSONL or CSV file, else the record's number."""

    file: Path
    line: int
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Bad:
    """A record that cannot be used; ``raw`` is its text, so that nothing is lost."""

    file: Path
    line: int
    field: str | None
    reason: str
    raw: str

    def __str__(self) -> str:
        where = f", field {self.field!r}" if self.field else ""
        told = f"{named(str(self.file))}, line {self.line}{where}: {self.reason}"
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in told)  # names of fields may steer a terminal


class FieldError(Exception):
    """Within one record: ``field`` has ``reason``. Becomes a Bad."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


@dataclass
class Rejected:
    """The bad records of a run: the first are told on stderr, all are kept. ``strict`` stops at the first."""

    strict: bool = False
    records: list[Bad] = field(default_factory=list)
    further: str = "only in rejected.jsonl"
    """Where those are that are not told."""

    def add(self, bad: Bad) -> None:
        """Keep and tell it. Raises InputError if ``strict``."""
        if self.strict:
            raise InputError(f"{bad} (--strict stops at the first)")
        self.records.append(bad)
        if len(self.records) <= SHOWN:
            print(f"rejected: {bad}", file=sys.stderr)
        elif len(self.records) == SHOWN + 1:
            print(f"rejected: further ones are {self.further}", file=sys.stderr)

    def write(self, file: Path) -> None:
        """One ASCII JSON line for each; without any, an earlier run's file is removed."""
        lines = [
            {"file": named(str(b.file)), "line": b.line, "field": b.field, "reason": b.reason, "record": b.raw}
            for b in self.records
        ]
        if lines:
            tables.write_text(file, "".join(json.dumps(line) + "\n" for line in lines))
        else:
            file.unlink(missing_ok=True)


def bad(record: Record, error: FieldError) -> Bad:
    """The record, found bad."""
    return Bad(record.file, record.line, error.field, error.reason, shown(record.fields))


def shown(value: Any) -> str:
    """Any value, in ASCII."""
    try:
        return json.dumps(value, default=str)
    except RecursionError:
        return "(nested too deeply to be shown)"
