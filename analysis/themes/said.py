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
from builder.streams import spans
from builder.streams.vectors import keys_of

BLOCK = 16_384

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
    """Of the judgements that say what is missing ``completion``, ``judgement`` and ``key``: 64 bits of each.

    They stand for the completion's id, for this and the judge's name (``judgement()``), and for the text's id. Of
    several attempts it is the one that counts (builder.judgements).
    """
    nothing = pl.DataFrame(schema=dict.fromkeys(("completion", "judgement", "key"), pl.UInt64))
    own = {"completion": pl.col("completion_id").hash(), "judgement": judgement()}
    return pl.concat([nothing, *(block.select(**own, key=_keys(block["wim"])) for block in _texts(run))])


def judgement() -> pl.Expr:
    """64 bits for a completion's id and the name of its judge."""
    return pl.struct("completion_id", "judge").hash()


def texts(run: Path, wanted: Keys) -> pl.DataFrame:
    """key and text of the run's texts whose keys are among ``wanted``, each once."""
    frames = [pl.DataFrame(schema={"key": pl.UInt64, "text": pl.String})]
    for block in _texts(run):
        block = block.select(key=_keys(block["wim"]), text="wim")
        found = block.filter(pl.Series(np.isin(block["key"].to_numpy(), wanted))).unique("key")
        frames.append(tables.detached(found))
    return pl.concat(frames).unique("key", maintain_order=True)


def _keys(texts: pl.Series) -> pl.Series:
    return pl.Series(keys_of(texts.to_list()), dtype=pl.UInt64)


def _texts(run: Path) -> Iterator[pl.DataFrame]:
    """completion_id, judge and ``wim`` of what counts, block by block."""
    file = tables.path(run, "feedback")
    read = spans.Reader(file, "feedback", [*judgements.READ, "wim"], "completion_id")
    for span in spans.plan(file, "feedback", "completion_id", BLOCK if read.sorted else spans.ROWS):
        missing = judgements.used(read(span)).filter(pl.col("wim_status") == str(WimStatus.MISSING))
        yield missing.select("completion_id", "judge", "wim").drop_nulls("wim")


def vectors(run: Path, wanted: Keys) -> Iterator[tuple[Keys, Floats]]:
    """Keys and vectors [n, dimensions] of texts among ``wanted`` (sorted), block by block; one without is left out.

    Raises TableError where the table is damaged or holds no vectors.
    """
    file = tables.path(run, "embeddings")
    parquet = tables.open_parquet(file, streamed=True)
    size = _dimensions(parquet.schema_arrow, file)
    with tables.damaged(file):
        for group in range(parquet.num_row_groups):
            there = _ids(parquet.read_row_group(group, ["text_id"])["text_id"])
            held = _among(there, wanted)
            start = 0
            for batch in parquet.iter_batches(BLOCK, [group], ["embedding"]) if held.any() else ():
                column = batch.column(0)
                rows = held[start : start + len(column)]
                if rows.any():
                    found = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), size)
                    yield there[start : start + len(column)][rows], found[rows]
                start += len(column)


def _among(keys: Keys, wanted: Keys) -> NDArray[np.bool_]:
    """For each key whether it is one of ``wanted``, which are sorted."""
    if not len(wanted):
        return np.zeros(len(keys), np.bool_)
    found: NDArray[np.bool_] = wanted[np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)] == keys
    return found


def _dimensions(schema: pa.Schema, file: Path) -> int:
    kind = schema.field("embedding").type if "embedding" in schema.names else None
    if kind is None or not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32():
        raise TableError(f"{file}: column 'embedding' must be a fixed_size_list<float32>, is {kind}")
    return int(kind.list_size)


def _ids(column: pa.ChunkedArray) -> Keys:
    """The keys that text_ids begin with."""
    hexadecimal = pl.Series(column).str.head(16).str.decode("hex").to_list()
    return np.frombuffer(b"".join(hexadecimal), ">u8").astype(np.uint64)
