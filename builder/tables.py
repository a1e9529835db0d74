"""The schemas of the tables, and their reading and writing.

A table is written under a temporary name, synced and renamed: whoever sees the file sees all of it.
The same inputs give the same bytes: no time, host or path is stored.
"""

import contextlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from builder import __version__
from builder.errors import TableError
from builder.ids import canonical_json, file_sha256

LIBRARIES = ("peft", "polars", "pyarrow", "sentence-transformers", "torch", "transformers", "trl")
ROW_GROUP = 65_536
LARGE = 256 << 20
"""Bytes of a row group beyond which it is read by pages."""
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def _schema(required: Mapping[str, pa.DataType], optional: Mapping[str, pa.DataType] | None = None) -> pa.Schema:
    fields = [pa.field(name, kind, nullable=False) for name, kind in required.items()]
    return pa.schema(fields + [pa.field(name, kind) for name, kind in (optional or {}).items()])


def _ordered(order: str, schema: pa.Schema) -> pa.Schema:
    return pa.schema([schema.field(name) for name in order.split()])


_TEXT, _NUMBER = pa.string(), pa.float64()

SCHEMAS: dict[str, pa.Schema] = {
    "prompts": _schema({"prompt_id": _TEXT, "messages": MESSAGES, "source": _TEXT}, {"reference": _TEXT}),
    "completions": _ordered(
        "completion_id prompt_id index text finish_reason tokens policy",
        _schema(
            {"completion_id": _TEXT, "prompt_id": _TEXT, "index": pa.int16(), "text": _TEXT}
            | {"finish_reason": _TEXT, "policy": _TEXT},
            {"tokens": pa.int32()},
        ),
    ),
    "feedback": _ordered(
        "completion_id judge attempt raw rating rating_status wim wim_status reason scale_min scale_max",
        _schema(
            {"completion_id": _TEXT, "judge": _TEXT, "attempt": pa.int16()}
            | {"rating_status": _TEXT, "wim_status": _TEXT},
            {"raw": _TEXT, "rating": _NUMBER, "wim": _TEXT, "reason": _TEXT}
            | {"scale_min": _NUMBER, "scale_max": _NUMBER},
        ),
    ),
    "comparisons": _ordered(
        "prompt_id a b judge order attempt raw verdict grade most reason",
        _schema(
            {"prompt_id": _TEXT, "a": _TEXT, "b": _TEXT, "judge": _TEXT}
            | {"order": pa.int8(), "attempt": pa.int16(), "most": pa.int8()},
            {"raw": _TEXT, "verdict": _TEXT, "grade": pa.int8(), "reason": _TEXT},
        ),
    ),
    "ratings": _ordered(
        "completion_id prompt_id judge rating R wim wim_10 missingness length reward ratable reason",
        _schema(
            {"completion_id": _TEXT, "prompt_id": _TEXT, "judge": _TEXT}
            | {"length": pa.int32(), "ratable": pa.bool_()},
            dict.fromkeys(("rating", "R", "wim", "wim_10", "missingness", "reward"), _NUMBER) | {"reason": _TEXT},
        ),
    ),
    "pairs": _ordered(
        "pair_id prompt_id prompt chosen rejected score_chosen score_rejected delta chosen_id rejected_id "
        "chosen_rating rejected_rating chosen_wim rejected_wim chosen_feedback rejected_feedback "
        "chosen_status rejected_status judge method round arm",
        _schema(
            {"pair_id": _TEXT, "prompt_id": _TEXT, "prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES}
            | dict.fromkeys(("score_chosen", "score_rejected", "delta"), _NUMBER)
            | dict.fromkeys(("chosen_id", "rejected_id", "chosen_status", "rejected_status"), _TEXT)
            | {"judge": _TEXT, "method": _TEXT, "round": pa.int32(), "arm": _TEXT},
            dict.fromkeys(("chosen_rating", "rejected_rating", "chosen_wim", "rejected_wim"), _NUMBER)
            | {"chosen_feedback": _TEXT, "rejected_feedback": _TEXT},
        ),
    ),
    "sft": _schema(
        {"row_id": _TEXT, "prompt": MESSAGES, "completion": MESSAGES, "prompt_id": _TEXT, "completion_id": _TEXT}
        | {"other_id": _TEXT, "feedback": _TEXT},
        {"score": _NUMBER},
    ),
    "evaluation": _schema({"prompt_id": _TEXT, "completion_id": _TEXT}, {"value": _NUMBER}),
    "route": _schema(
        dict.fromkeys(("prompt_id", "chosen_id", "rejected_id"), _TEXT) | {"delta": _NUMBER, "uncertainty": _NUMBER},
        dict.fromkeys(("small", "readings", "judges"), _NUMBER),
    ),
    "training": _schema({"step": pa.int32(), "name": _TEXT, "value": _NUMBER}),
    "throughput": _schema({"step": pa.int32(), "tokens": pa.int64(), "seconds": _NUMBER, "tokens_per_second": _NUMBER}),
}
SCHEMAS["heldout"] = SCHEMAS["prompts"]


def embeddings_schema(dimensions: int) -> pa.Schema:
    """The embeddings table for vectors of ``dimensions`` float32 numbers."""
    return _schema(
        {"text_id": _TEXT, "embedding": pa.list_(pa.float32(), dimensions)}
        | {"tokens": pa.int32(), "truncated": pa.bool_()}
    )


def check_prompted(prompts: pl.DataFrame, what: str) -> None:
    """Raises TableError if the text of a prompt is not known, so that nothing can be ``what``."""
    bare = prompts.filter(pl.col("messages").list.len() == 0)["prompt_id"]
    if len(bare):
        raise TableError(f"{len(bare)} prompts are known by their id only ({bare[0]}, say) and cannot be {what}")


def metadata(stage: str, params: Mapping[str, Any], inputs: Mapping[str, Path], **facts: Any) -> dict[str, Any]:
    """What a table says of its making: stage, parameters, input fingerprints, versions, further facts.

    ``inputs`` are paths of tables, recorded by the SHA-256 of their bytes under the name given.
    """
    return {
        "stage": stage,
        "params": dict(params),
        "inputs": fingerprints(inputs),
        "versions": {library: version(library) for library in LIBRARIES},
        "created_by": f"what-is-missing {__version__}",
        **facts,
    }


def fingerprints(inputs: Mapping[str, Path]) -> dict[str, str]:
    """The first 32 hex digits of each file's SHA-256."""
    return {name: file_sha256(path)[:32] for name, path in inputs.items()}


def check_made_from(file: Path, now: Mapping[str, str], stage: str) -> None:
    """Raises TableError if ``file`` says that it was made from tables of other fingerprints: ids alone would match."""
    said = read_metadata(file).get("inputs", {})
    for name in now.keys() & said.keys():
        if now[name] != said[name]:
            raise TableError(f"{file}: was made from another {name}.parquet; run `wim {stage} {file.parent}` again")


def check_unchanged(now: Mapping[str, str], before: Mapping[str, str]) -> None:
    """Raises TableError if a table is no longer what it was: rows of the one would stand for the other."""
    for name, fingerprint in now.items():
        if fingerprint != before[name]:
            raise TableError(f"{name}.parquet: changed while it was worked on; run the same command again")


def read_metadata(file: Path) -> dict[str, Any]:
    """What the table says of its making; empty for a table made by others."""
    raw = (open_parquet(file).schema_arrow.metadata or {}).get(b"wim")
    said = json.loads(raw) if raw else {}
    return said if isinstance(said, dict) else {}


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


def read_nothing(file: Path, name: str, columns: Sequence[str]) -> pl.DataFrame:
    """No row of the columns, in the types that ``read`` gives them. Raises TableError as ``read``."""
    present = _present(open_parquet(file), columns, name, file)
    return _frame(open_parquet(file).schema_arrow.empty_table().select(present), columns, SCHEMAS[name], file)


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


def uncompressed(file: Path, columns: Sequence[str]) -> int:
    """Bytes of the columns as they are encoded in the file, before compression."""
    return sum(_sizes(open_parquet(file), columns))


def _sizes(parquet: pq.ParquetFile, columns: Sequence[str]) -> list[int]:
    """Bytes of each row group, uncompressed, in ``columns``."""
    about = parquet.metadata
    groups = (about.row_group(group) for group in range(about.num_row_groups))
    of = [[g.column(i) for i in range(g.num_columns)] for g in groups]
    return [sum(c.total_uncompressed_size for c in g if c.path_in_schema.split(".")[0] in columns) for g in of]


def detached(frame: pl.DataFrame) -> pl.DataFrame:
    """A copy. Rows that polars takes from a frame hold on to all the texts of it."""
    return as_frame(frame.to_arrow())


def as_frame(rows: pa.Table | pa.RecordBatch) -> pl.DataFrame:
    """The same rows in polars, as far as it can without a copy."""
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame


def write_blocks(
    file: Path, name: str, frames: Iterable[pl.DataFrame], about: Mapping[str, Any], more: Sequence[pa.Field] = ()
) -> None:
    """Write a table of the schema ``name`` from frames that come one after the other; ``more`` columns follow it."""
    schema = pa.schema([*SCHEMAS[name], *more])
    with writer(file, schema, about) as out:
        for frame in frames:
            out.write_table(frame.to_arrow().select(schema.names).cast(schema))


def write(file: Path, name: str, frame: pl.DataFrame, about: Mapping[str, Any]) -> None:
    """Write a table of the schema ``name``; columns beyond the schema are kept behind it."""
    schema = SCHEMAS[name]
    table = frame.to_arrow()
    extra = [_small(table.schema.field(column)) for column in table.column_names if column not in schema.names]
    schema = pa.schema([*schema, *extra])
    with writer(file, schema, about) as out:
        out.write_table(table.select(schema.names).cast(schema), row_group_size=ROW_GROUP)


def _small(field: pa.Field) -> pa.Field:
    return field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field


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


def temporary_of(file: Path) -> Path:
    """The name under which a file is written. What killed processes left under such a name is removed."""
    for left in file.parent.glob(f".{file.name}.*.tmp"):
        if not Path("/proc", left.name.split(".")[-2]).exists():
            left.unlink(missing_ok=True)
    return file.with_name(f".{file.name}.{os.getpid()}.tmp")


@contextlib.contextmanager
def damaged(file: Path) -> Iterator[None]:
    """Errors while a Parquet file is read as one clear line that names it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{file}: damaged: {first_line(error)}") from error


@contextlib.contextmanager
def told(file: Path) -> Iterator[None]:
    """Errors of the disk as one clear line that names the file."""
    try:
        yield
    except OSError as error:
        raise TableError(f"{file}: cannot be written: {first_line(error)}") from error


def publish_file(temporary: Path, file: Path) -> None:
    """Sync ``temporary`` to the disk and rename it to ``file``."""
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(temporary, file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(file: Path, text: str) -> None:
    """Write a text file as tables are written: all of it or nothing."""
    write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file as tables are written: all of it or nothing."""
    temporary = temporary_of(file)
    try:
        with told(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            publish_file(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(file: Path, value: Any) -> None:
    """Indented JSON with a final newline; NaN is refused."""
    write_text(file, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(file: Path) -> Any:
    """A JSON file. Raises TableError if it is missing or not JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TableError(f"{file}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an error of a library says, in one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
