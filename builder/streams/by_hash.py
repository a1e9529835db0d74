"""Rows in the order of a hash, however many: scattered to a temporary file by its first two digits, then sorted.

A hash spreads rows evenly over its first digits. What fits in memory is sorted there, without a file.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import polars as pl
import pyarrow as pa

from builder import tables

HELD = 32 << 20
"""Bytes that are held before they are scattered."""
_DIGITS = "0123456789abcdef"
_ENDS = pl.Series([a + b for a in _DIGITS for b in _DIGITS][1:])


class Sorter:
    """Takes frames of the same columns, of which ``key`` holds lower-case hex digits; scatters them to ``file``."""

    def __init__(self, file: IO[bytes], key: str, folder: Path) -> None:
        self.file, self.key, self.folder = file, key, folder
        self.held: list[pa.Table] = []
        self.places: list[list[int]] = [[] for _ in range(len(_ENDS) + 1)]
        self.written = 0
        self.out: pa.RecordBatchFileWriter | None = None

    def add(self, frame: pl.DataFrame) -> None:
        """Further rows."""
        self.held.append(frame.to_arrow())  # a copy: polars would keep all the texts that the rows were taken from
        if sum(table.nbytes for table in self.held) > HELD:
            with tables.told(self.folder):
                self._scatter()

    def frames(self) -> Iterator[pl.DataFrame]:
        """All rows by their key, in frames of any size; once, and one frame at least."""
        if self.out is None:
            yield self._held()
            return
        with tables.told(self.folder):
            self._scatter()
            self.out.close()
        read = pa.ipc.open_file(self.file)
        for places in self.places:
            rows = pa.Table.from_batches([read.get_batch(i) for i in places], read.schema)
            yield tables.as_frame(rows).sort(self.key)

    def _held(self) -> pl.DataFrame:
        frame = tables.as_frame(pa.concat_tables(self.held)).sort(self.key)
        self.held = []
        return frame

    def _scatter(self) -> None:
        if not self.held:
            return
        rows = self._held()
        starts = [0, *rows[self.key].search_sorted(_ENDS, "left"), len(rows)]
        table = rows.to_arrow().combine_chunks()
        if self.out is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self.out = pa.ipc.new_file(self.file, table.schema, options=options)
        for places, start, end in zip(self.places, starts, starts[1:], strict=False):
            for batch in table[start:end].to_batches():
                self.out.write_batch(batch)
                places.append(self.written)
                self.written += 1


@contextlib.contextmanager
def sorter(folder: Path, key: str) -> Iterator[Sorter]:
    """A Sorter until the block ends. Its file in ``folder`` has no name: it goes when the process does."""
    with contextlib.ExitStack() as opened:
        with tables.told(folder):
            file = opened.enter_context(tempfile.TemporaryFile(dir=folder))
        yield Sorter(file, key, folder)
