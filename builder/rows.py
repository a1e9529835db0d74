"""Resumable work by row: finished rows are kept under .wim/ and never computed twice.

A row is keyed by all that determines it: the settings of the work (the folder's name is their
fingerprint) and the row's own key. Kill -9 at any point loses the parts in flight, no more.
"""

import contextlib
import fcntl
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from builder import tables
from builder.ids import fingerprint, sha256

FOLDER = Path(".wim")
PART = 512
QUIET = 30.0

Work = Callable[[list[int]], pa.Table]


def compute(
    kind: str, settings: Mapping[str, Any], keys: Sequence[str], work: Work, label: str, part: int = PART
) -> pa.Table:
    """The rows of ``keys``, in their order; only those that are not kept yet are worked out.

    ``work`` gets positions in ``keys`` (at most ``part`` of them) and returns one row for each, in
    order; equal keys are one row. Without keys the table has no columns. A second process with the
    same settings waits until the first has ended. Raises TableError if rows cannot be kept.
    """
    if not keys:
        return pa.table({})
    folder = FOLDER / kind / fingerprint(settings)
    with lock(folder):
        position = {key: i for i, key in reversed(list(enumerate(keys)))}
        parts = _load(folder, pa.array(position, pa.string()))
        kept = {key for rows in parts for key in rows["key"].to_pylist()}
        missing = sorted(i for key, i in position.items() if key not in kept)
        for chunk in _progress(missing, part, label, len(position)):
            rows = work(chunk)
            rows = rows.add_column(0, "key", pa.array([keys[i] for i in chunk], pa.string()))
            _keep(folder, rows)
            parts.append(rows)
    rows = pa.concat_tables(parts, promote_options="default")
    return rows.take(pc.index_in(pa.array(keys, pa.string()), rows["key"].combine_chunks())).drop_columns("key")


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder under .wim/; a second process says that it waits, and waits."""
    with tables.told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process works on the same rows ({folder}): waiting for it", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _load(folder: Path, wanted: pa.Array) -> list[pa.Table]:
    """The rows of ``wanted`` that are kept. Whoever holds the lock may clear away what a killed process left."""
    for left in folder.glob(".*.tmp"):
        left.unlink()
    found = []
    for file in sorted(folder.glob("*.parquet")):
        try:
            rows = pq.read_table(file, page_checksum_verification=True)
            found.append(rows.filter(pc.is_in(rows["key"], wanted)))
        except (pa.ArrowException, OSError, KeyError) as error:
            print(f"{file}: damaged, its rows are done again ({tables.first_line(error)})", file=sys.stderr)
            file.unlink()
    return found


def _keep(folder: Path, rows: pa.Table) -> None:
    name = sha256("\n".join(rows["key"].to_pylist()))[:16]
    with tables.writer(folder / f"{name}.parquet", rows.schema, {"stage": "rows"}) as out:
        out.write_table(rows)


def _progress(missing: list[int], part: int, label: str, total: int) -> Iterator[list[int]]:
    if not missing:
        return
    from tqdm import tqdm

    bar = tqdm(total=total, initial=total - len(missing), desc=label, unit="row", disable=not sys.stderr.isatty())
    told = time.monotonic()
    with bar:
        for start in range(0, len(missing), part):
            chunk = missing[start : start + part]
            yield chunk
            bar.update(len(chunk))
            if bar.disable and time.monotonic() - told > QUIET:  # a log wants lines, and few of them
                told = time.monotonic()
                done = total - len(missing) + start + len(chunk)
                print(f"{label}: {done:,} of {total:,} rows", file=sys.stderr, flush=True)
