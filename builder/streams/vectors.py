"""Embeddings by text: looked up in embeddings.parquet, in bounded memory."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from builder import tables
from builder.errors import TableError

IN_MEMORY = 256 << 20
_BATCH = 4_096
BLOCK = 16_384
"""Judgements whose vectors are held at once."""

Floats = NDArray[np.float32]
Rows = NDArray[np.uint32]

_DIGITS = np.full(256, 255, np.uint8)
for _value, _digit in enumerate(b"0123456789abcdef"):
    _DIGITS[_digit] = _value


class Index:
    """Which row of a table holds a text: 12 bytes for each row. Raises TableError for a table that is no such one."""

    def __init__(self, file: Path) -> None:
        parquet = tables.open_parquet(file, streamed=True)
        self.file, self.dimensions = file, _dimensions(parquet.schema_arrow, file)
        if "text_id" not in parquet.schema_arrow.names:
            raise TableError(f"{file}: has no column 'text_id'")
        self.keys = np.empty(parquet.metadata.num_rows, np.uint64)
        done = 0
        with tables.damaged(file):
            for batch in parquet.iter_batches(tables.ROW_GROUP, columns=["text_id"]):
                self.keys[done : done + len(batch)] = _key_bits(batch.column(0), file)
                done += len(batch)
        self.order: Rows = np.argsort(self.keys).astype(np.uint32)
        self.keys.sort()
        if (self.keys[1:] == self.keys[:-1]).any():
            raise TableError(f"{file}: a text_id stands in two rows")

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, texts: pl.Series) -> Rows:
        """The row of each text; no text is null. Raises TableError for a text without one."""
        place, known = self._places(texts)
        if not known.all():
            text = texts[int(np.argmin(known))]
            raise TableError(f"{self.file}: no vector for {text[:60]!r}: run `wim embed {self.file.parent}` again")
        return self.order[place]

    def holds(self, texts: pl.Series) -> NDArray[np.bool_]:
        """Whether each text has a row; no text is null."""
        return self._places(texts)[1]

    def _places(self, texts: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where each text stands among the keys, and whether it does."""
        keys = keys_of(texts.to_list())
        ordered = np.argsort(keys)  # what is looked up in order finds its way in the processor's cache
        place = np.empty(len(keys), np.int64)
        place[ordered] = np.searchsorted(self.keys, keys[ordered])
        if not len(self.keys):
            return place, np.zeros(len(keys), np.bool_)
        return place, self.keys[np.minimum(place, len(self.keys) - 1)] == keys


class Store:
    """Vectors [rows, dimensions] by number. Beyond ``IN_MEMORY`` bytes they lie in an unlinked file beside ``file``."""

    def __init__(self, rows: int, dimensions: int, file: Path) -> None:
        self.dimensions, self.row_bytes, self.file = dimensions, dimensions * 4, file
        self.memory: Floats | None = None
        self.spill: int | None = None
        if rows * self.row_bytes <= IN_MEMORY:
            self.memory = np.empty((rows, dimensions), np.float32)
        else:
            with tables.told(file), tempfile.NamedTemporaryFile(dir=file.parent, prefix=".vectors") as out:
                self.spill = os.dup(out.fileno())

    def put(self, first: int, vectors: Floats) -> None:
        """Keep consecutive rows from ``first`` on. Raises TableError where the disk is full."""
        if self.memory is not None:
            self.memory[first : first + len(vectors)] = vectors
            return
        assert self.spill is not None
        view, done = np.ascontiguousarray(vectors).data.cast("B"), 0
        with tables.told(self.file):
            while done < len(view):
                done += os.pwrite(self.spill, view[done:], first * self.row_bytes + done)

    def take(self, rows: NDArray[np.integer]) -> Floats:
        """Rows that were put, [len(rows), dimensions]."""
        if self.memory is not None:
            taken: Floats = self.memory[rows]
            return taken
        rows = rows.astype(np.int64)
        found = np.empty((len(rows), self.dimensions), np.float32)
        if len(rows) and (np.diff(rows) == 1).all():  # the order of first use, in which the table stands
            self._read(int(rows[0]), found)
            return found
        ordered = np.argsort(rows, kind="stable")
        for run in np.split(ordered, np.flatnonzero(np.diff(rows[ordered]) > 1) + 1):
            if len(run):
                first, last = int(rows[run[0]]), int(rows[run[-1]])
                between = np.empty((last - first + 1, self.dimensions), np.float32)
                self._read(first, between)
                found[run] = between[rows[run] - first]
        return found

    def _read(self, first: int, into: Floats) -> None:
        """Fill ``into`` with consecutive rows of the file."""
        assert self.spill is not None
        view, done = into.data.cast("B"), 0
        while done < len(view):
            count = os.preadv(self.spill, [view[done:]], first * self.row_bytes + done)
            if not count:
                raise TableError(f"{self.file}: its vectors are cut off; is the disk full?")
            done += count

    def close(self) -> None:
        if self.spill is not None:
            os.close(self.spill)
            self.spill = None


class Vectors:
    """The vectors of one table, for texts in any order: all are held, in memory or in a second file (``Store``)."""

    def __init__(self, file: Path, index: Index | None = None) -> None:
        self.index = index or Index(file)
        self.keys, self.dimensions = self.index.keys, self.index.dimensions
        self.store = Store(len(self.keys), self.dimensions, file)
        for first, vectors in batches(file):
            self.store.put(first, vectors)

    def __call__(self, texts: pl.Series) -> Floats:
        """Vectors [len(texts), dimensions]; NaN for a null. Raises TableError for a text without one."""
        taken = self.store.take(self.index.rows(texts.drop_nulls()))
        return spread(taken, texts.is_not_null().to_numpy())

    def holds(self, texts: pl.Series) -> NDArray[np.bool_]:
        """Whether each text has a vector; no text is null."""
        return self.index.holds(texts)

    def close(self) -> None:
        self.store.close()


class Block:
    """The vectors of one block of judgements: each column of texts is looked up once."""

    def __init__(self, vectors: Callable[[pl.Series], Floats]) -> None:
        self.vectors = vectors
        self.found: dict[bytes, Floats] = {}

    def __call__(self, texts: pl.Series) -> Floats:
        """As ``Vectors``."""
        told = content(texts)
        if told not in self.found:
            self.found[told] = self.vectors(texts)
        return self.found[told]


def batches(file: Path, first: int = 0) -> Iterator[tuple[int, Floats]]:
    """Vectors [n, dimensions] as they lie in the file, each with its first row: from before row ``first`` to the end.

    What lies in row groups before that of ``first`` is not read. Raises TableError where the file is damaged.
    """
    parquet = tables.open_parquet(file, streamed=True)
    size = _dimensions(parquet.schema_arrow, file)
    ends = np.cumsum([parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)])
    skipped = int(np.searchsorted(ends, first, "right"))
    groups, row = list(range(skipped, parquet.num_row_groups)), int(ends[skipped - 1]) if skipped else 0
    with tables.damaged(file):
        for batch in parquet.iter_batches(_BATCH, groups, ["embedding"]) if groups else ():
            column = batch.column(0)
            if column.null_count:
                raise TableError(f"{file}: column 'embedding' holds nulls")
            yield row, column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), size)
            row += len(column)


def spread(taken: Floats, present: NDArray[np.bool_]) -> Floats:
    """``taken`` in the rows that are ``present``; NaN in the others."""
    if present.all():
        return taken
    found = np.full((len(present), taken.shape[1]), np.nan, np.float32)
    found[present] = taken
    return found


def content(texts: pl.Series) -> bytes:
    """What tells one column of texts from another."""
    return hashlib.blake2b(texts.hash().to_numpy().tobytes(), digest_size=16).digest()


def keys_of(texts: Sequence[str]) -> NDArray[np.uint64]:
    """64 bits of each text's id: its first 16 hex digits."""
    digests = b"".join(hashlib.sha256(text.encode()).digest()[:8] for text in texts)
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def _key_bits(ids: pa.Array, file: Path) -> NDArray[np.uint64]:
    """``keys_of`` the texts with these ids."""
    try:
        plain = ids.cast(pa.string()).cast(pa.binary()).cast(pa.binary(32))
    except pa.ArrowException as error:
        raise TableError(f"{file}: column 'text_id': {tables.first_line(error)}; 32 hex digits are wanted") from error
    letters = np.frombuffer(plain.buffers()[1], np.uint8, 32 * len(plain), 32 * plain.offset).reshape(-1, 32)
    digits = _DIGITS[letters[:, :16]]
    if plain.null_count or (digits > 15).any():
        raise TableError(f"{file}: column 'text_id' holds what is not 32 hex digits (builder.ids.text_id)")
    return np.ascontiguousarray(digits[:, ::2] << 4 | digits[:, 1::2]).view(">u8").ravel().astype(np.uint64)


def _dimensions(schema: pa.Schema, file: Path) -> int:
    kind = schema.field("embedding").type if "embedding" in schema.names else None
    if kind is None or not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32():
        raise TableError(f"{file}: column 'embedding' must be a fixed_size_list<float32>, is {kind}")
    return int(kind.list_size)
