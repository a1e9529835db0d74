"""CSV, one record after the other."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from builder.errors import InputError
from builder.records.files import opened
from builder.records.record import Bad, Record, shown

NUMBERS = ("rating", "rating_min", "rating_max", "sample")
"""Columns whose cells are numbers where they read as such."""


def rows(file: Path) -> Iterator[Record | Bad]:
    """Its rows, each by the line it starts in.

    An empty cell is an absent value: CSV cannot tell it from an empty text. Raises InputError for what is not CSV.
    """
    csv.field_size_limit(1 << 30)
    with opened(file) as content:
        lines = io.TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(lines, strict=True)
        line = 1
        try:
            header = _header(file, next(filter(_is_row, reader), []))
            line = reader.line_num + 1
            for row in reader:
                if _is_row(row):
                    yield _cells(file, line, header, row)
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(f"{file}, the row that starts in line {line}: not CSV: {error}") from error


def _is_row(cells: Sequence[str]) -> bool:
    """A blank line is none."""
    return len(cells) > 1 or any(cell.strip() for cell in cells)


def _header(file: Path, names: Sequence[str]) -> Sequence[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{file}, line 1: the column {twice[0]!r} stands there twice")
    return names


def _cells(file: Path, line: int, header: Sequence[str], row: Sequence[str]) -> Record | Bad:
    if len(row) != len(header):
        return Bad(file, line, None, f"{len(row)} cells where the header has {len(header)}", shown(row))
    fields: dict[str, Any] = {name: value or None for name, value in zip(header, row, strict=True)}
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return Bad(file, line, None, "not UTF-8", shown(fields))
    for name in NUMBERS:
        if fields.get(name) is not None:
            fields[name] = _cell_number(fields[name])
    return Record(file, line, fields)


def _cell_number(cell: str) -> Any:
    try:
        number = float(cell)
    except ValueError:
        return cell
    return cell if "_" in cell else number  # Python alone reads 1_0 as ten
