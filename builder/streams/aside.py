"""Frames put aside on the disk, to be read once more: for what has to be known of all before the first is written."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa

from builder import tables


class Frames:
    """Frames of the same columns in an unlinked file in ``folder``. Raises TableError where the disk is full."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.written = folder, contextlib.ExitStack()
        with tables.told(folder):
            self.file = tempfile.TemporaryFile(dir=folder, prefix=".frames")  # noqa: SIM115
        self.schema: pa.Schema | None = None

    def add(self, frame: pl.DataFrame) -> None:
        table = frame.to_arrow().combine_chunks()
        with tables.told(self.folder):
            if self.schema is None:
                self.schema = table.schema
                self.out = self.written.enter_context(pa.ipc.new_stream(self.file, table.schema))
            self.out.write_table(table.cast(self.schema))

    def frames(self) -> Iterator[pl.DataFrame]:
        """All that were added, in their order; then no more can be."""
        with tables.told(self.folder):
            self.written.close()
            self.file.seek(0)
        with pa.ipc.open_stream(self.file) as read:
            yield tables.as_frame(read.schema.empty_table())
            for batch in read:
                yield tables.as_frame(batch)

    def close(self) -> None:
        self.file.close()
