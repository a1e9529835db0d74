"""Resumable work by row: finished rows are kept under .wim/ and never computed twice.

A row is keyed by all that determines it: the settings of the work (the folder's name is their
fingerprint) and the row's own key. Kill -9 at any point loses the parts in flight, no more.
"""

import contextlib
import fcntl
import sys
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

Work = Callable[[list[int]], pa.Table]


def compute(
    kind: str, settings: Mapping[str, Any], keys: Sequence[str], work: Work, label: str, part: int = PART
) -> pa.Table:
    """The rows of ``keys``, in their order; only those that are not kept yet are worked out.

    ``work`` gets positions in ``keys`` (at most ``part`` of them) and returns one row for each, in
    order. A second process with the same settings waits until the first has ended.
    """
    folder = FOLDER / kind / fingerprint(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        position = {key: i for i, key in reversed(list(enumerate(keys)))}
        kept = _load(folder, position)
        missing = sorted(position[key] for key in position.keys() - set(kept["key"].to_pylist() if kept else []))
        parts = [kept] if kept else []
        for chunk in _progress(missing, part, label, len(position)):
            rows = work(chunk)
            rows = rows.add_column(0, "key", pa.array([keys[i] for i in chunk], pa.string()))
            _keep(folder, rows)
            parts.append(rows)
    if not parts:
        return pa.table({"key": pa.array([], pa.string())})
    rows = pa.concat_tables(parts, promote_options="default")
    return rows.take(pc.index_in(pa.array(keys, pa.string()), rows["key"].combine_chunks())).drop_columns("key")


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process works on the same rows ({folder}): waiting for it", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _load(folder: Path, wanted: Mapping[str, int]) -> pa.Table | None:
    keys = pa.array(list(wanted), pa.string())
    found = []
    for file in sorted(folder.glob("*.parquet")):
        try:
            rows = pq.read_table(file)
        except (pa.ArrowException, OSError) as error:
            print(f"{file}: damaged, its rows are done again ({error})", file=sys.stderr)
            file.unlink()
            continue
        found.append(rows.filter(pc.is_in(rows["key"], keys)))
    return pa.concat_tables(found, promote_options="default") if found else None


def _keep(folder: Path, rows: pa.Table) -> None:
    name = sha256("\n".join(rows["key"].to_pylist()))[:16]
    with tables.writer(folder / f"{name}.parquet", rows.schema, {"stage": "rows"}) as out:
        out.write_table(rows)


def _progress(missing: list[int], part: int, label: str, total: int) -> Iterator[list[int]]:
    if not missing:
        return
    from tqdm import tqdm

    interval = 0.5 if sys.stderr.isatty() else 30.0
    with tqdm(total=total, initial=total - len(missing), desc=label, unit="row", mininterval=interval) as bar:
        for start in range(0, len(missing), part):
            chunk = missing[start : start + part]
            yield chunk
            bar.update(len(chunk))
