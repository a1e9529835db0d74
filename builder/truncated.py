"""Completions whose end the embedder did not read."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder import tables
from builder.streams.vectors import keys_of

Keys = NDArray[np.uint64]


class Truncated:
    """The truncated texts of an embeddings table, by 64 bits of their ids."""

    def __init__(self, embeddings: Path) -> None:
        self.known = embeddings.is_file()
        self.cut = np.sort(_cut(embeddings)) if self.known else np.empty(0, np.uint64)
        self.found = 0

    def add(self, texts: pl.Series) -> None:
        """Further completions."""
        if len(self.cut):
            keys = keys_of(texts.to_list())
            place = np.searchsorted(self.cut, keys)
            self.found += int((self.cut[np.minimum(place, len(self.cut) - 1)] == keys).sum())

    def count(self) -> int | None:
        """Truncated ones of all that were added; None where nothing is embedded."""
        return self.found if self.known else None


def _cut(embeddings: Path) -> Keys:
    parquet, found = tables.open_parquet(embeddings, streamed=True), [np.empty(0, np.uint64)]
    with tables.damaged(embeddings):
        for batch in parquet.iter_batches(tables.ROW_GROUP, columns=["text_id", "truncated"]):
            ids = tables.as_frame(batch).filter("truncated")["text_id"]
            keys = ids.str.head(16).str.decode("hex", strict=False)
            found.append(keys.bin.reinterpret(dtype=pl.UInt64, endianness="big").drop_nulls().to_numpy())
    return np.concatenate(found)
