"""Which vectors are near each other, by their cosine: FAISS, on GPUs where it finds some, else on the CPU."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builder.errors import WimError

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

NEAR = 0.95
"""The cosine of near duplicates. In all-MiniLM-L6-v2 such texts differ in a word or in punctuation."""
EXACT = 200_000
"""Rows up to which each is compared; among more only those in the nearest cells of an inverted file are."""
CELLS_LOOKED_AT = 1 / 16
_TRAINED_ON = 40
"""Rows for each cell that its place is learned from (FAISS asks for 39)."""
_MOST_ON_GPU = 2_048
"""Neighbours that FAISS finds at once on a GPU, where it has no search by a least cosine."""


class Index:
    """Rows [n, dimensions] of length 1 (``units``), asked for those near a query."""

    def __init__(self, rows: Floats) -> None:
        """Raises WimError where FAISS is not installed."""
        faiss = library()
        self.size = len(rows)
        self.exact = self.size <= EXACT
        self.on_gpu = _gpus(faiss) > 0
        self.index: Any = faiss.IndexFlatIP(rows.shape[1]) if self.exact else _cells(faiss, rows)
        if self.on_gpu:
            self.index = faiss.index_cpu_to_all_gpus(self.index)
        self.index.add(np.ascontiguousarray(rows))

    def near(self, queries: Floats, least: float = NEAR) -> tuple[Rows, Rows, Floats]:
        """Pairs (query, row, cosine) of a cosine above ``least``, by query and row."""
        if not self.size or not len(queries):
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
        found = self._most_near(queries, least) if self.on_gpu else self._in_range(queries, least)
        order = np.lexsort((found[1], found[0]))
        query, row, cosine = (each[order] for each in found)
        return query, row, cosine

    def _in_range(self, queries: Floats, least: float) -> tuple[Rows, Rows, Floats]:
        ends, cosines, rows = self.index.range_search(np.ascontiguousarray(queries), least)
        return np.repeat(np.arange(len(queries)), np.diff(ends.astype(np.int64))), rows.astype(np.int64), cosines

    def _most_near(self, queries: Floats, least: float) -> tuple[Rows, Rows, Floats]:
        """As many neighbours as it takes until the farthest found is beyond ``least``."""
        count = min(64, self.size)
        while True:
            cosines, rows = self.index.search(np.ascontiguousarray(queries), count)
            near = (cosines > least) & (rows >= 0)
            if count in (self.size, _MOST_ON_GPU) or not near[:, -1].any():
                return *np.nonzero(near)[:1], rows[near], cosines[near]
            count = min(4 * count, self.size, _MOST_ON_GPU)


def units(vectors: Floats) -> Floats:
    """[n, dimensions] of length 1; zeros for what has no direction."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))[:, None]
    found: Floats = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=np.isfinite(lengths) & (lengths > 0))
    return found


def library() -> Any:
    """FAISS. Raises WimError where it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise WimError("near texts are found by FAISS, which is not installed (pip install faiss-cpu)") from error
    return faiss


def units_of(embedded: pa.Table) -> Floats:
    """``units`` of the column ``embedding``."""
    column = embedded["embedding"].combine_chunks()
    return units(column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1))


def _cells(faiss: Any, rows: Floats) -> Any:
    count = int(2 * len(rows) ** 0.5)
    index = faiss.index_factory(rows.shape[1], f"IVF{count},Flat", faiss.METRIC_INNER_PRODUCT)
    index.nprobe = max(1, round(count * CELLS_LOOKED_AT))
    index.train(np.ascontiguousarray(rows[:: max(1, len(rows) // (_TRAINED_ON * count))]))
    return index


def _gpus(faiss: Any) -> int:
    return int(getattr(faiss, "get_num_gpus", lambda: 0)())
