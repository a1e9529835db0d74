"""Tables larger than memory, span by span: all rows whose id lies between two ids.

A span never divides the rows of one id. Our tables are sorted by their id and are read once, from top to bottom; of a
table in any other order every span reads all of it and keeps its own rows, which takes longer and no more memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from builder import tables

ROWS = 4 * tables.ROW_GROUP
"""Rows of a span, about."""
BATCH = tables.ROW_GROUP // 4
"""Rows that are read at once: texts may be long."""
_PER_SPAN = 64
"""Ids looked at for each span: the more, the more alike the spans of a table that is not sorted."""


@dataclass(frozen=True)
class Span:
    """Ids from ``first`` on and before ``end``; None is open."""

    first: str | None = None
    end: str | None = None

    def holds(self, column: str) -> pl.Expr:
        """Whether each id lies in it."""
        after = pl.lit(True) if self.first is None else pl.col(column) >= self.first
        return after if self.end is None else after & (pl.col(column) < self.end)


def plan(file: Path, name: str, key: str, rows: int = ROWS) -> list[Span]:
    """Spans of the ids in ``key`` which together hold each row once, in the order of the ids, about ``rows`` rows each.

    Raises TableError naming file and column.
    """
    step = max(1, rows // _PER_SPAN)
    looked: list[str] = []
    begin = 0
    for block in tables.batches(file, name, [key]):
        looked += block[key].gather(list(range(-begin % step, len(block), step))).to_list()
        begin += len(block)
    each = rows // step
    ends = sorted(set(sorted(looked)[each::each]))
    return [Span(first, end) for first, end in zip([None, *ends], [*ends, None], strict=True)]


class Reader:
    """The rows of one table in spans that follow each other, with ``columns`` as ``tables.read`` gives them."""

    def __init__(
        self, file: Path, name: str, columns: Sequence[str], key: str, known_sorted: bool | None = None
    ) -> None:
        self.file, self.name, self.columns, self.key = file, name, list(columns), key
        self.empty = tables.read_nothing(file, name, self.columns)
        self.sorted = is_sorted(file, name, key) if known_sorted is None else known_sorted
        self.rest = self._all() if self.sorted else iter(())
        self.left = self.empty

    def __call__(self, span: Span) -> pl.DataFrame:
        """The rows of ``span``, in the order of the file. Each span is after those that were read before."""
        if not self.sorted:
            held = (tables.detached(block.filter(span.holds(self.key))) for block in self._all())
            return pl.concat([self.empty, *held])
        read = [self.left]
        while span.end is None or not len(read[-1]) or read[-1][self.key][-1] < span.end:
            block = next(self.rest, None)
            if block is None:
                break
            read.append(block)
        found = pl.concat(read)
        stop = len(found) if span.end is None else int(found[self.key].search_sorted(span.end, "left"))
        start = 0 if span.first is None else int(found[self.key].search_sorted(span.first, "left"))
        self.left = found[stop:]
        return found[start:stop]

    def _all(self) -> Iterator[pl.DataFrame]:
        return tables.batches(self.file, self.name, self.columns, BATCH)


class Lookup:
    """Rows by their id, of a table that has one for each: at best ids that go on from call to call as the table does.

    One block of the table is held, and 8 bytes for each of its ids. Ids in any other order make each call read all.
    """

    def __init__(self, file: Path, name: str, columns: Sequence[str], key: str) -> None:
        self.file, self.name, self.columns, self.key = file, name, list(columns), key
        hashed = [block[key].hash().to_numpy() for block in tables.batches(file, name, [key])]
        self.known = np.unique(np.concatenate([np.empty(0, np.uint64), *hashed]))
        self.rows = sum(map(len, hashed))
        self.held = tables.read_nothing(file, name, self.columns)
        self.rest: Iterator[pl.DataFrame] = iter(())

    def __call__(self, ids: pl.Series) -> pl.DataFrame:
        """The rows of ``ids``, in no order; none for an id that the table does not have."""
        left, found, read = ids.unique(), [self.held.clear()], 0
        left = left.filter(pl.Series(np.isin(left.hash().to_numpy(), self.known), dtype=pl.Boolean))
        while True:
            found.append(tables.detached(self.held.filter(pl.col(self.key).is_in(left.implode()))))
            left = left.filter(~left.is_in(found[-1][self.key].implode()))
            if not len(left) or read >= self.rows:
                return pl.concat(found)
            self.held = self._next()
            read += len(self.held)

    def _next(self) -> pl.DataFrame:
        """The next block, after the last one the first."""
        block = next(self.rest, None)
        if block is None:
            self.rest = tables.batches(self.file, self.name, self.columns)
            block = next(self.rest)
        return block


def blocks(file: Path, name: str, columns: Sequence[str], key: str, size: int) -> Iterator[pl.DataFrame]:
    """The rows in blocks of ``size`` at most, sorted by ``key``. ``columns`` has the key. Raises TableError."""
    if is_sorted(file, name, key):
        yield from tables.batches(file, name, columns, size)
        return
    read = Reader(file, name, columns, key, known_sorted=False)
    for span in plan(file, name, key, ROWS):
        yield from read(span).sort(key, maintain_order=True).iter_slices(size)


def even(frames: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The rows of at least one frame in frames of ``rows``, and the rest."""
    left: pl.DataFrame | None = None
    for frame in frames:
        left = frame if left is None else pl.concat([left, frame])
        while len(left) > rows:
            yield left[:rows]
            left = left[rows:]
    if left is not None:
        yield left


def is_sorted(file: Path, name: str, key: str) -> bool:
    """Whether the ids stand in ascending order."""
    last = None
    for block in tables.batches(file, name, [key]):
        ids = block[key]
        if len(ids) and (not ids.is_sorted() or (last is not None and ids[0] < last)):
            return False
        last = ids[-1] if len(ids) else last
    return True
