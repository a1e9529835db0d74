"""Resumable work by row: finished rows are kept under .wim/ and never computed twice.

A row is keyed by all that determines it: the settings of the work (the folder's name is their
fingerprint) and the row's own key. Kill -9 at any point loses what is in flight, no more. Rows
stream through: what stays in memory are 16 bytes a row for its key and 24 for where it lies.
"""

import contextlib
import copy
import fcntl
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from builder import tables
from builder.ids import fingerprint
from builder.progress import Progress

FOLDER = Path(".wim")
SETTINGS = "settings.json"
LOCK, READERS = "lock", "readers"
KEY = 16
AHEAD = 256
BLOCK = 4096

Item = TypeVar("Item")
Keys = NDArray[np.uint64]
"""[rows, 2]: the two halves of each key."""
Batch = tuple[Sequence[int], pa.Table]
"""Finished rows: their places among the items that were handed out, and one table row for each."""
Done = Callable[[int, int], None]
"""Told how many rows were finished, and of how many tokens, for the progress line."""
Work = Callable[[Iterator[Item], Done], Iterator[Batch]]


def compute(
    kind: str,
    settings: Mapping[str, Any],
    items: Iterable[tuple[bytes, Item]],
    work: Work[Item],
    label: str,
    total: int,
) -> "Rows":
    """The rows of ``items``, pairs of a key of 16 bytes and what the row is made from, in their order.

    ``work`` gets those that are not kept yet, as a stream, and yields batches of finished rows, of which it
    has told how many they are; each batch becomes one part. ``total`` is the number of items, for the
    progress line. A second process with the same settings waits until the first has ended. Raises
    TableError if rows cannot be kept.
    """
    items = iter(items)
    first = next(items, None)
    if first is None:
        return Rows([], _as_keys(b""), None)
    folder = FOLDER / kind / fingerprint(settings)
    with lock(folder), Progress(label, total) as progress:
        tables.write_json(folder / SETTINGS, settings)  # its time is that of the last use
        parts = _load(folder)
        stream = _Missing(itertools.chain([first], items), _Index(parts), progress)
        for places, rows in work(iter(stream), progress.done):
            with undisturbed():
                parts.append(_keep(folder, stream.keys_of(places), rows))
        return Rows(parts, _as_keys(bytes(stream.keys)), reading(folder))


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM take effect at the end of the block, which has to be short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda caught, _: came.append(caught)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


@contextlib.contextmanager
def lock(folder: Path, wait: bool = True, what: str = "") -> Iterator[bool]:
    """Hold a folder under .wim/; a second process says that it waits for ``what``, and waits, or else is told False."""
    with contextlib.ExitStack() as held:
        while True:
            file = held.enter_context(_lock_file(folder, LOCK))
            if not _locked(file, wait=False):
                if not wait:
                    yield False
                    return
                print(
                    f"another process works on {what or f'the same rows ({folder})'}: waiting for it", file=sys.stderr
                )
                _locked(file, wait=True)
            if _is_there(file):
                break
        yield True


def reading(folder: Path) -> IO[str]:
    """A lock that others may hold as well, for as long as rows may be read."""
    file = _lock_file(folder, READERS)
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def is_read(folder: Path) -> bool:
    """Whether some process may still read the rows."""
    with _lock_file(folder, READERS) as file:
        return not _locked(file, wait=False)


def _lock_file(folder: Path, name: str) -> IO[str]:
    with tables.told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / name).open("w")


def _locked(file: IO[str], wait: bool) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _is_there(file: IO[str]) -> bool:
    """Whether the locked file is still the one that others see: `wim clean` removes it with its folder."""
    try:
        return os.path.samestat(os.stat(file.name), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class Part:
    """A file of finished rows and their keys."""

    file: Path
    keys: Keys


class Rows:
    """Finished rows in the order they were asked for; they lie on the disk and are read in blocks.

    As long as it is there, ``held`` keeps `wim clean` from removing them.
    """

    def __init__(self, parts: Sequence[Part], keys: Keys, held: IO[str] | None) -> None:
        self.index = _Index(parts)
        self.keys = keys
        self.held = held

    def __len__(self) -> int:
        return len(self.keys)

    def ordered(self, order: NDArray[np.integer[Any]]) -> "Rows":
        """The same rows in another order."""
        rows = copy.copy(self)
        rows.keys = self.keys[order]
        return rows

    def missing(self) -> int:
        """How many rows no batch held."""
        return int((self.index.find(self.keys) < 0).sum())

    def blocks(self, size: int = BLOCK, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Tables of ``size`` rows, the last one shorter; a row that is missing is null in all columns."""
        for start in range(0, len(self.keys), size):
            places = self.index.find(self.keys[start : start + size])
            yield self._block(places, columns) if (places >= 0).any() else self._nothing(len(places), columns)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows as one table; without rows it has no columns."""
        blocks = list(self.blocks(columns=columns))
        return pa.concat_tables(blocks, promote_options="default") if blocks else pa.table({})

    def _nothing(self, rows: int, columns: Sequence[str] | None) -> pa.Table:
        """Rows that are all missing."""
        names = columns or [n for file in self.index.files[:1] for n in pq.read_schema(file).names if n != "key"]
        return pa.table({name: pa.nulls(rows) for name in names})

    def _read(self, part: int, columns: Sequence[str] | None) -> pa.Table:
        file = self.index.files[part]
        with tables.damaged(file):
            rows = pq.read_table(file, columns=list(columns) if columns else None, page_checksum_verification=True)
        return rows.drop_columns("key") if columns is None else rows

    def _block(self, places: NDArray[np.int64], columns: Sequence[str] | None) -> pa.Table:
        """The rows at ``places``; of each part only what is needed stays in memory, since it may be all of them."""
        found = np.flatnonzero(places >= 0)
        part, row = self.index.part[places[found]], self.index.row[places[found]]
        order, taken = np.argsort(part, kind="stable"), []
        for i in np.unique(part).tolist():
            taken.append(self._read(i, columns).take(pa.array(row[order][part[order] == i])))
        back = np.full(len(places), -1, np.int64)
        back[found[order]] = np.arange(len(found))
        return pa.concat_tables(taken).take(pa.array(back, mask=back < 0)).combine_chunks()


class _Index:
    """Where a key's row lies: keys are sorted by their first half and told apart by the second."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.files = [part.file for part in parts]
        keys = np.concatenate([_as_keys(b""), *(part.keys for part in parts)])
        counts = np.array([len(part.keys) for part in parts], np.int64)
        order = np.argsort(keys[:, 0], kind="stable")
        self.high, self.low = keys[order].T
        self.part = np.repeat(np.arange(len(parts), dtype=np.int32), counts)[order]
        self.row = (np.arange(len(keys)) - np.repeat(counts.cumsum() - counts, counts)).astype(np.int32)[order]

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """The place of each key, -1 where it is not there."""
        if not len(self.high):
            return np.full(len(keys), -1, np.int64)
        place = np.minimum(np.searchsorted(self.high, keys[:, 0]), len(self.high) - 1)
        found = (self.high[place] == keys[:, 0]) & (self.low[place] == keys[:, 1])
        return np.where(found, place, -1)


@dataclass
class _Missing(Generic[Item]):
    """Hands out the items whose rows are not kept, and remembers the keys of all in their order."""

    items: Iterator[tuple[bytes, Item]]
    index: _Index
    progress: Progress
    keys: bytearray = field(default_factory=bytearray)
    handed_out: bytearray = field(default_factory=bytearray)

    def __iter__(self) -> Iterator[Item]:
        while ahead := list(itertools.islice(self.items, AHEAD)):
            keys = b"".join(key for key, _ in ahead)
            self.keys += keys
            found = self.index.find(_as_keys(keys)) >= 0
            self.progress.from_before(int(found.sum()))
            for (key, item), kept in zip(ahead, found, strict=True):
                if not kept:
                    self.handed_out += key
                    yield item

    def keys_of(self, places: Sequence[int]) -> bytes:
        """The keys of items by their places among those that were handed out."""
        return b"".join(self.handed_out[place * KEY : (place + 1) * KEY] for place in places)


def _as_keys(keys: bytes) -> Keys:
    return np.frombuffer(keys, ">u8").astype(np.uint64).reshape(-1, 2)


def _load(folder: Path) -> list[Part]:
    """What is kept, checked page by page. Whoever holds the lock may clear away what a killed process left."""
    for left in folder.glob(".*.tmp"):
        left.unlink()
    found = []
    for file in sorted(folder.glob("*.parquet")):
        try:
            keys = pq.read_table(file, page_checksum_verification=True)["key"].cast(pa.binary(KEY))
            found.append(Part(file, _as_keys(b"".join(keys.to_pylist()))))
        except (pa.ArrowException, OSError, KeyError) as error:
            print(f"{file}: damaged, its rows are done again ({tables.first_line(error)})", file=sys.stderr)
            file.unlink()
    return found


def _keep(folder: Path, keys: bytes, rows: pa.Table) -> Part:
    column = pa.array([keys[i : i + KEY] for i in range(0, len(keys), KEY)], pa.binary(KEY))
    file = folder / f"{fingerprint({'keys': keys.hex()})}.parquet"
    rows = rows.add_column(0, "key", column)
    with tables.writer(file, rows.schema, {"stage": "rows"}) as out:
        out.write_table(rows)
    return Part(file, _as_keys(keys))
