"""Writing tables. The same inputs give the same bytes: no time, host or path is stored."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from builder.ids import canonical_json
from builder.tables.files import publish_file, temporary_of, told
from builder.tables.schemas import ROW_GROUP, SCHEMAS


def write(file: Path, name: str, frame: pl.DataFrame, about: Mapping[str, Any]) -> None:
    """Write a table of the schema ``name``; columns beyond the schema are kept behind it."""
    schema = SCHEMAS[name]
    table = frame.to_arrow()
    extra = [_small(table.schema.field(column)) for column in table.column_names if column not in schema.names]
    schema = pa.schema([*schema, *extra])
    with writer(file, schema, about) as out:
        out.write_table(table.select(schema.names).cast(schema), row_group_size=ROW_GROUP)


def write_blocks(
    file: Path, name: str, frames: Iterable[pl.DataFrame], about: Mapping[str, Any], more: Sequence[pa.Field] = ()
) -> None:
    """Write a table of the schema ``name`` from frames that come one after the other; ``more`` columns follow it."""
    schema = pa.schema([*SCHEMAS[name], *more])
    with writer(file, schema, about) as out:
        for frame in frames:
            out.write_table(frame.to_arrow().select(schema.names).cast(schema))


@contextlib.contextmanager
def writer(file: Path, schema: pa.Schema, about: Mapping[str, Any]) -> Iterator[pq.ParquetWriter]:
    """A Parquet writer whose file appears, whole and synced, when the block ends without an error.

    Raises TableError where the disk is full or the folder cannot be written to.
    """
    with told(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_of(file)
    schema = schema.with_metadata({"wim": canonical_json(about)})
    vectors = [f.name for f in schema if pa.types.is_fixed_size_list(f.type)]
    try:
        with (
            told(file),
            pq.ParquetWriter(
                temporary,
                schema,
                compression="zstd",
                use_dictionary=[f.name for f in schema if pa.types.is_string(f.type)] or False,
                use_byte_stream_split=[f"{name}.list.element" for name in vectors] or False,
                write_page_checksum=True,
            ) as out,
        ):
            yield out
        with told(file):
            publish_file(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _small(field: pa.Field) -> pa.Field:
    return field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field
