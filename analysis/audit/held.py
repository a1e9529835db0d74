"""The vectors that a run has, and those that are made for the audit alone."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder import embed, tables
from builder.params import Params
from builder.streams.vectors import Vectors


class Held:
    """Looks texts up as builder.streams.vectors does: in embeddings.parquet, and among what ``want`` embeds.

    Vectors are comparable within one model only. With ``embedding`` texts are embedded by that of the parameters, and
    the run's vectors count if they are from it too; else the run's vectors are taken as they are.
    """

    def __init__(self, run: Path, params: Params, embedding: bool) -> None:
        file = tables.path(run, "embeddings")
        self.params, self.embedding = params, embedding
        self.stores: list[Vectors] = []
        self.lacks: dict[bytes, int] = {}
        if file.is_file() and (not embedding or embed.is_of(file, params.embed)):
            self.stores.append(Vectors(file))

    def want(self, columns: Sequence[pl.Series]) -> None:
        """Embed those of the texts that have no vector; nothing unless ``embedding``. Rows are kept under .wim/."""
        if not self.embedding:
            return
        texts = pl.concat([column.drop_nulls() for column in columns]).unique(maintain_order=True)
        absent = texts.filter(pl.Series(~self._holds(texts))).to_list()
        if absent:
            table = embed.embed(absent, self.params.embed)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "embeddings.parquet"
                with tables.writer(file, table.schema, {}) as out:
                    out.write_table(table, row_group_size=tables.ROW_GROUP)
                self.stores.append(Vectors(file))

    def lacking(self, columns: Sequence[pl.Series]) -> int:
        """How many distinct texts have no vector."""
        return max((self._lacking(column) for column in columns), default=0)

    def _lacking(self, column: pl.Series) -> int:
        content = column.hash().to_numpy().tobytes()
        if content not in self.lacks:
            texts = column.drop_nulls().unique()
            self.lacks[content] = int(np.count_nonzero(~self._holds(texts)))
        return self.lacks[content]

    def __call__(self, texts: pl.Series) -> NDArray[np.float32]:
        """Vectors [len(texts), dimensions], NaN for a null. Raises TableError for a text without one."""
        if not self.stores:
            return np.full((len(texts), 1), np.nan, np.float32)
        if len(self.stores) == 1:
            return self.stores[0](texts)
        first, second = self.stores
        here = pl.Series(first.holds(texts.fill_null("")))
        return np.where(here.to_numpy()[:, None], first(_only(texts, here)), second(_only(texts, ~here)))

    def _holds(self, texts: pl.Series) -> NDArray[np.bool_]:
        held = np.zeros(len(texts), np.bool_)
        for store in self.stores:
            held |= store.holds(texts)
        return held

    def close(self) -> None:
        for store in self.stores:
            store.close()


def _only(texts: pl.Series, kept: pl.Series) -> pl.Series:
    return texts.to_frame("text").select(pl.when(kept).then("text")).to_series()
