"""Parquet, one record after the other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from builder import tables
from builder.errors import InputError
from builder.records.record import Bad, FieldError, Record

BATCH = 1024


def rows(file: Path) -> Iterator[Record | Bad]:
    """Its rows, numbered from 1. Raises InputError if a column stands there twice."""
    parquet = tables.open_parquet(file)
    schema = parquet.schema_arrow
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise InputError(f"{file}: has the column {twice[0]!r} twice")
    schema = pa.schema([f.with_type(pa.float64()) if pa.types.is_decimal(f.type) else f for f in schema])
    number = 0
    for batch in parquet.iter_batches(BATCH):
        for fields in _rows(batch.cast(schema)):
            number += 1
            if isinstance(fields, FieldError):
                yield Bad(file, number, fields.field, fields.reason, "")
            else:
                yield Record(file, number, fields)


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any] | FieldError]:
    """Rows as dicts; in place of one that has no value in Python the column that is to blame."""
    try:
        rows: list[dict[str, Any] | FieldError] = batch.to_pylist()
        return rows
    except (ValueError, OverflowError) as error:
        if batch.num_rows > 1:
            return [row for i in range(batch.num_rows) for row in _rows(batch.slice(i, 1))]
        guilty = next(name for name in batch.schema.names if not _readable(batch[name]))
        return [FieldError(guilty, "not UTF-8" if isinstance(error, UnicodeError) else tables.first_line(error))]


def _readable(column: pa.Array) -> bool:
    try:
        column.to_pylist()
    except (ValueError, OverflowError):
        return False
    return True
