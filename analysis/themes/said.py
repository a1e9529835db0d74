"""The texts of a run that say what is missing, and their vectors, both as streams: a run may hold millions."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from builder import judgements, tables
from builder.errors import TableError
from builder.neighbours import Floats
from builder.statuses import WimStatus
from builder.vectors import keys_of

BLOCK = 16_384
KEY = ["completion_id", "judge", "attempt"]

Keys = NDArray[np.uint64]


def embedder(run: Path) -> str | None:
    """What tells the run's vectors from those of another embedder; None where the run has no feedback or no vectors."""
    file = tables.path(run, "embeddings")
    if not file.is_file() or not tables.path(run, "feedback").is_file():
        return None
    made = tables.read_metadata(file)
    settings = made.get("params", {})
    size = _dimensions(tables.open_parquet(file, streamed=True).schema_arrow, file)
    how = [made.get("model"), settings.get("truncation"), settings.get("prompt")]
    return json.dumps([*how, size], sort_keys=True)


def keys(run: Path) -> pl.DataFrame:
    """completion_id, judge and ``key`` (64 bits of the text's id) of the judgements that say what is missing.

    Of several attempts it is the one that counts (builder.judgements).
    """
    frames = [
        block.select("completion_id", "judge", key=pl.Series(keys_of(block["wim"].to_list()), dtype=pl.UInt64))
        for block in _texts(run)
    ]
    return pl.concat([pl.DataFrame(schema={"completion_id": pl.String, "judge": pl.String, "key": pl.UInt64}), *frames])


def texts(run: Path, wanted: Keys) -> pl.DataFrame:
    """key and text of the run's texts whose keys are among ``wanted``, each once."""
    frames = [pl.DataFrame(schema={"key": pl.UInt64, "text": pl.String})]
    for block in _texts(run):
        block = block.select(key=pl.Series(keys_of(block["wim"].to_list()), dtype=pl.UInt64), text="wim")
        frames.append(block.filter(pl.Series(np.isin(block["key"].to_numpy(), wanted))).unique("key"))
    return pl.concat(frames).unique("key", maintain_order=True)


def _texts(run: Path) -> Iterator[pl.DataFrame]:
    file = tables.path(run, "feedback")
    counted = judgements.used(tables.read(file, "feedback", judgements.READ))
    missing = counted.filter(pl.col("wim_status") == str(WimStatus.MISSING)).select(KEY)
    for block in tables.read_blocks(file, "feedback", [*KEY, "wim"], "completion_id", BLOCK):
        yield block.join(missing, on=KEY, how="semi", maintain_order="left").drop_nulls("wim")


def vectors(run: Path, wanted: Keys) -> Iterator[tuple[Keys, Floats]]:
    """Keys and vectors [n, dimensions] of the texts among ``wanted``, block by block; a text without one is left out.

    Raises TableError where the table is damaged or holds no vectors.
    """
    file = tables.path(run, "embeddings")
    parquet = tables.open_parquet(file, streamed=True)
    size = _dimensions(parquet.schema_arrow, file)
    with tables.damaged(file):
        for group in range(parquet.num_row_groups):
            there = _ids(parquet.read_row_group(group, ["text_id"])["text_id"])
            held = np.isin(there, wanted)
            start = 0
            for batch in parquet.iter_batches(BLOCK, [group], ["embedding"]) if held.any() else ():
                column = batch.column(0)
                rows = held[start : start + len(column)]
                if rows.any():
                    found = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), size)
                    yield there[start : start + len(column)][rows], found[rows]
                start += len(column)


def _dimensions(schema: pa.Schema, file: Path) -> int:
    kind = schema.field("embedding").type if "embedding" in schema.names else None
    if kind is None or not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32():
        raise TableError(f"{file}: column 'embedding' must be a fixed_size_list<float32>, is {kind}")
    return int(kind.list_size)


def _ids(column: pa.ChunkedArray) -> Keys:
    """The keys that text_ids begin with."""
    hexadecimal = pl.Series(column).str.head(16).str.decode("hex").to_list()
    return np.frombuffer(b"".join(hexadecimal), ">u8").astype(np.uint64)
