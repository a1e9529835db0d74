"""Reading tables, also those that others made: columns in the types of the schema, whole or block by block."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from builder.errors import TableError
from builder.tables.files import damaged, first_line
from builder.tables.schemas import ROW_GROUP, SCHEMAS

LARGE = 256 << 20
"""Bytes of a row group beyond which it is read by pages."""


def path(run: Path, name: str) -> Path:
    """Where the table is in a run folder."""
    return run / f"{name}.parquet"


def find(run: Path, name: str) -> Path:
    """The table in the run folder or, for prompts and heldout, in the nearest parent that has it.

    What lies under .wim/ is a copy of a folder elsewhere: its parents end there.
    """
    folders = [run]
    if name in ("prompts", "heldout"):
        folders += itertools.takewhile(lambda parent: parent.name != ".wim", run.absolute().parents)
    for folder in folders:
        if path(folder, name).is_file():
            return path(folder, name)
    stage = {
        "completions": "complete",
        "feedback": "judge",
        "comparisons": "judge",
        "embeddings": "embed",
        "ratings": "rate",
        "pairs": "pair",
    }
    command = stage.get(name, "prompts" if name == "heldout" else name)
    raise TableError(f"{path(run, name)} does not exist: run `wim {command} {run}` first, or `wim ingest`")


def open_parquet(file: Path, streamed: bool = False) -> pq.ParquetFile:
    """The file, opened; ``streamed`` holds some pages of a row group and not, as is the default, all of it.

    Raises TableError if it is no complete Parquet file. A page that is not what was written (our writer
    leaves checksums) raises OSError when it is read.
    """
    buffer = 1 << 20 if streamed else 0
    try:
        # With pre_buffer, pyarrow's default, what has been read stays in memory until the file is closed.
        return pq.ParquetFile(file, page_checksum_verification=True, buffer_size=buffer, pre_buffer=False)
    except FileNotFoundError as error:
        raise TableError(f"{file}: does not exist") from error
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{file}: not a complete Parquet file: {first_line(error)}") from error


def read(file: Path, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Columns of a table, in the types of its schema; columns that may be null may also be absent.

    Further columns are left out unless they are named in ``columns``. Raises TableError naming file and column.
    """
    schema = SCHEMAS[name]
    parquet = open_parquet(file)
    wanted = list(columns or schema.names)
    present = _present(parquet, wanted, name, file)
    with damaged(file):
        table = parquet.read(columns=present)
    return _frame(table, wanted, schema, file)


def batches(file: Path, name: str, columns: Sequence[str], size: int = ROW_GROUP) -> Iterator[pl.DataFrame]:
    """The rows as they lie in the file, about ``size`` at a time; of a row group that is large not all is held.

    Raises TableError as ``read``.
    """
    parquet = open_parquet(file)
    present = _present(parquet, columns, name, file)
    if max(_sizes(parquet, present), default=0) > LARGE:
        parquet = open_parquet(file, streamed=True)
    with damaged(file):
        for batch in parquet.iter_batches(size, columns=present):
            yield _frame(pa.Table.from_batches([batch]), columns, SCHEMAS[name], file)


def read_nothing(file: Path, name: str, columns: Sequence[str]) -> pl.DataFrame:
    """No row of the columns, in the types that ``read`` gives them. Raises TableError as ``read``."""
    present = _present(open_parquet(file), columns, name, file)
    return _frame(open_parquet(file).schema_arrow.empty_table().select(present), columns, SCHEMAS[name], file)


def _present(parquet: pq.ParquetFile, wanted: Sequence[str], name: str, file: Path) -> list[str]:
    """The columns of ``wanted`` that are there. Raises TableError if one is not that must be."""
    schema, present = SCHEMAS[name], set(parquet.schema_arrow.names)
    for column in wanted:
        if column not in present and (column not in schema.names or not schema.field(column).nullable):
            raise TableError(f"{file}: has no column {column!r}; a {name} table has {', '.join(schema.names)}")
    return [column for column in wanted if column in present]


def _frame(table: pa.Table, wanted: Sequence[str], schema: pa.Schema, file: Path) -> pl.DataFrame:
    columns = [_column(table, column, schema, file) for column in wanted]
    return as_frame(pa.table(columns, names=list(wanted)))


def _column(table: pa.Table, name: str, schema: pa.Schema, file: Path) -> pa.ChunkedArray:
    if name not in schema.names:
        return table[name]
    field = schema.field(name)
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, field.type)])
    try:
        column = table[name].cast(field.type)
        column.validate(full=True)  # text that is not UTF-8 would bring polars down
    except pa.ArrowException as error:
        what = f"is {table[name].type}, not {field.type}: {first_line(error)}"
        raise TableError(f"{file}: column {name!r} {what}") from error
    if not field.nullable and column.null_count:
        raise TableError(f"{file}: column {name!r} holds {column.null_count} nulls")
    return column


def uncompressed(file: Path, columns: Sequence[str]) -> int:
    """Bytes of the columns as they are encoded in the file, before compression."""
    return sum(_sizes(open_parquet(file), columns))


def _sizes(parquet: pq.ParquetFile, columns: Sequence[str]) -> list[int]:
    """Bytes of each row group, uncompressed, in ``columns``."""
    about = parquet.metadata
    groups = (about.row_group(group) for group in range(about.num_row_groups))
    of = [[g.column(i) for i in range(g.num_columns)] for g in groups]
    return [sum(c.total_uncompressed_size for c in g if c.path_in_schema.split(".")[0] in columns) for g in of]


def as_frame(rows: pa.Table | pa.RecordBatch) -> pl.DataFrame:
    """The same rows in polars, as far as it can without a copy."""
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame


def detached(frame: pl.DataFrame) -> pl.DataFrame:
    """A copy. Rows that polars takes from a frame hold on to all the texts of it."""
    return as_frame(frame.to_arrow())


def check_prompted(prompts: pl.DataFrame, what: str) -> None:
    """Raises TableError if the text of a prompt is not known, so that nothing can be ``what``."""
    bare = prompts.filter(pl.col("messages").list.len() == 0)["prompt_id"]
    if len(bare):
        raise TableError(f"{len(bare)} prompts are known by their id only ({bare[0]}, say) and cannot be {what}")
