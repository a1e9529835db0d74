"""Embeddings by text for who goes once through a run from top to bottom: of a table of any size little is held.

embeddings.parquet stands in the order of first use, column by column (builder.embed): all completions, then all that
is said to be missing. So a block of judgements needs rows that lie in a few neighbouring places, and a cursor in each
moves on with the blocks. A text that comes again later is kept when it is passed.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder.streams import vectors
from builder.streams.vectors import Floats, Index, Rows, Store, Vectors

CURSORS = 8
"""Places of a table that are read at once. One in more pieces is not in order, and is copied (``Vectors``)."""
_NONE = np.uint32(0xFFFFFFFF)

Lookup = Callable[[pl.Series], Floats]
Columns = dict[bytes, Rows]
"""The rows of the texts of a column, by its content; _NONE for a null."""


@contextlib.contextmanager
def lookups(file: Path, blocks: Callable[[], Iterable[Sequence[pl.Series]]]) -> Iterator[Iterator[Lookup]]:
    """One look-up for each of ``blocks``, in their order: of its columns of texts, and, slower, of any other text.

    Each is of use until the next. A table of up to ``vectors.IN_MEMORY`` bytes is held, and ``blocks`` not called.
    Raises TableError for a text without a vector.
    """
    index = Index(file)
    with contextlib.ExitStack() as opened:
        if len(index) * index.dimensions * 4 > vectors.IN_MEMORY:
            plan = Plan(index, blocks())
            if plan.starts is not None:
                del index
                held = functools.cache(lambda: opened.enter_context(contextlib.closing(Vectors(file))))
                passing = Passing(file, plan, lambda texts: held()(texts))
                yield opened.enter_context(contextlib.closing(passing)).blocks()
                return
            del plan
        yield itertools.repeat(opened.enter_context(contextlib.closing(Vectors(file, index))))


class Plan:
    """What each block looks up, 4 bytes for each text, and where the rows lie."""

    def __init__(self, index: Index, blocks: Iterable[Sequence[pl.Series]]) -> None:
        self.columns: list[Columns] = []
        self.dimensions = index.dimensions
        first, last = np.full(len(index), _NONE), np.zeros(len(index), np.uint32)
        for number, columns in enumerate(blocks):
            different = {vectors.content(column): column for column in columns}
            self.columns.append({told: _rows(index, column) for told, column in different.items()})
            rows = self.rows(number)
            first[rows] = np.minimum(first[rows], np.uint32(number))
            last[rows] = number
        self.again: Rows = np.flatnonzero((first != _NONE) & (first < last)).astype(np.uint32)
        """The rows that a later block looks up once more."""
        _fill(first)
        turns = np.flatnonzero(first[1:] < first[:-1]) + 1
        self.starts: list[int] | None = [0, *turns.tolist()] if len(turns) < CURSORS else None
        """The first row of each piece in which the rows stand in the order of first use; None: there are too many."""
        self.ends = self._ends(first) if self.starts is not None else None

    def rows(self, block: int) -> Rows:
        """The rows that a block looks up, each once, ascending."""
        rows = np.unique(np.concatenate([np.empty(0, np.uint32), *self.columns[block].values()]))
        return rows[:-1] if len(rows) and rows[-1] == _NONE else rows

    def _ends(self, first: Rows) -> NDArray[np.int64]:
        """[pieces, blocks]: the row before which all stand in the piece that the blocks so far look up."""
        assert self.starts is not None
        numbers = np.arange(len(self.columns), dtype=np.uint32)
        pieces = zip(self.starts, [*self.starts[1:], len(first)], strict=True)
        return np.array([start + np.searchsorted(first[start:end], numbers, "right") for start, end in pieces])


def _rows(index: Index, texts: pl.Series) -> Rows:
    rows = np.full(len(texts), _NONE)
    rows[texts.is_not_null().to_numpy()] = index.rows(texts.drop_nulls())
    return rows


def _fill(first: Rows) -> None:
    """A row that no block looks up is passed along with the one before it."""
    used = first != _NONE
    if not used.all():
        row = np.maximum.accumulate(np.where(used, np.arange(len(first), dtype=np.uint32), np.uint32(0)))
        first[:] = first[row]
        first[first == _NONE] = 0


class Passing:
    """The vectors of a plan's blocks, read from the table as they are passed."""

    def __init__(self, file: Path, plan: Plan, otherwise: Lookup) -> None:
        assert plan.starts is not None
        self.plan, self.otherwise = plan, otherwise
        self.cursors = [_Cursor(file, start) for start in plan.starts]
        self.kept = Store(len(plan.again), plan.dimensions, file)

    def blocks(self) -> Iterator[Lookup]:
        for number, columns in enumerate(self.plan.columns):
            yield _Found(columns, *self._read(number), self.otherwise)
        yield from itertools.repeat(self.otherwise)

    def _read(self, block: int) -> tuple[Rows, Floats]:
        """The rows that a block looks up, and their vectors."""
        assert self.plan.ends is not None
        rows = self.plan.rows(block)
        found, passed = np.empty((len(rows), self.plan.dimensions), np.float32), np.zeros(len(rows), np.bool_)
        for cursor, end in zip(self.cursors, self.plan.ends[:, block], strict=True):
            for first, read in cursor.until(int(end)):
                here = _within(rows, first, len(read))
                found[here], passed[here] = read[rows[here] - np.uint32(first)], True
                again = _within(self.plan.again, first, len(read))
                if again.start < again.stop:
                    self.kept.put(again.start, read[self.plan.again[again] - np.uint32(first)])
        if not passed.all():
            found[~passed] = self.kept.take(np.searchsorted(self.plan.again, rows[~passed]))
        return rows, found

    def close(self) -> None:
        self.kept.close()


def _within(rows: Rows, first: int, count: int) -> slice:
    """Which of ascending rows are among ``count`` from ``first`` on."""
    start, stop = np.searchsorted(rows, np.array([first, first + count], np.uint32)).tolist()
    return slice(start, stop)


class _Cursor:
    """A place in the table that moves on."""

    def __init__(self, file: Path, start: int) -> None:
        self.batches = vectors.batches(file, start)
        self.at, self.first, self.read = start, 0, np.empty((0, 0), np.float32)

    def until(self, end: int) -> Iterator[tuple[int, Floats]]:
        """The vectors from where it stands to ``end``, in pieces, each with its first row."""
        while self.at < end:
            if self.at >= self.first + len(self.read):
                self.first, self.read = next(self.batches)
                continue
            stop = min(end, self.first + len(self.read))
            yield self.at, self.read[self.at - self.first : stop - self.first]
            self.at = stop


class _Found:
    """The vectors of one block."""

    def __init__(self, columns: Columns, rows: Rows, found: Floats, otherwise: Lookup) -> None:
        self.columns, self.rows, self.found, self.otherwise = columns, rows, found, otherwise

    def __call__(self, texts: pl.Series) -> Floats:
        rows = self.columns.get(vectors.content(texts))
        if rows is None:
            return self.otherwise(texts)
        present = rows != _NONE
        return vectors.spread(_taken(self.found, np.searchsorted(self.rows, rows[present])), present)


def _taken(found: Floats, places: NDArray[np.int64]) -> Floats:
    """Those rows; of neighbours no copy is made."""
    if len(places) and (np.diff(places) == 1).all():
        return found[places[0] : places[-1] + 1]
    taken: Floats = found[places]
    return taken
