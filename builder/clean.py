"""clean: what is kept under .wim/, and its removal on demand.

Nothing there is a result: without it the next run computes its rows again, that is all.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builder import rows, tables
from builder.errors import TableError, UsageError
from builder.screen import aligned

DAY = 86_400
KINDS = ("complete", "judge", "refine", "evaluate", "embed", "rate", "train", "remote")


@dataclass(frozen=True)
class Kept:
    """A folder under .wim/: rows of one kind, made with the same settings."""

    folder: Path
    kind: str
    made_by: str
    rows: int
    size: int
    unused_days: float


@dataclass(frozen=True)
class Result:
    """``removed`` are those that are gone or, in a dry run, would go; ``busy`` are in use by a process."""

    kept: list[Kept]
    removed: list[Kept]
    busy: list[Kept]
    dry_run: bool


def run(kinds: Sequence[str], everything: bool, unused_for: float | None, dry_run: bool) -> Result:
    """List what is kept; remove the ``kinds`` named (or everything), if unused for so many days."""
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"clean: {kind!r} is no kind of rows; there are {', '.join(KINDS)}")
    if unused_for is not None and not 0 <= unused_for < float("inf"):
        raise UsageError(f"clean: --unused-for takes a number of days, 0 or more, not {unused_for}")
    found = listed()
    asked = everything or bool(kinds) or unused_for is not None
    chosen = [
        kept for kept in found if asked and (not kinds or kept.kind in kinds) and kept.unused_days >= (unused_for or 0)
    ]
    busy = [kept for kept in chosen if not _remove(kept.folder, dry_run)]
    removed = [kept for kept in chosen if kept not in busy]
    return Result([kept for kept in found if kept not in removed], removed, busy, dry_run)


def listed() -> list[Kept]:
    """All that is kept, the largest first."""
    found = [_kept(folder) for folder in rows.FOLDER.glob("*/*") if folder.is_dir()]
    return sorted((kept for kept in found if kept), key=lambda kept: (-kept.size, str(kept.folder)))


def _kept(folder: Path) -> Kept | None:
    stats = _stats(folder)
    if not stats:
        return None
    unused = max(0.0, time.time() - max(stat.st_mtime for stat in stats)) / DAY
    count = sum(_rows(file) for file in folder.glob("*.parquet"))
    return Kept(folder, folder.parent.name, _made_by(folder), count, sum(s.st_size for s in stats), unused)


def _stats(folder: Path) -> list[os.stat_result]:
    stats = []
    with contextlib.suppress(FileNotFoundError):  # somebody else removes it at this moment
        for file in folder.rglob("*"):
            if file.is_file() and file.name not in (rows.LOCK, rows.READERS):
                stats.append(file.stat())
    return stats


def _rows(file: Path) -> int:
    try:
        return int(pq.read_metadata(file).num_rows)
    except (pa.ArrowException, OSError):
        return 0  # damaged: whoever needs it says so


def _made_by(folder: Path) -> str:
    """Engine, model and the beginning of the policy's hash, as far as they are known."""
    try:
        settings: dict[str, Any] = tables.read_json(folder / rows.SETTINGS)
        policy, engine = settings.get("policy", {}), settings.get("settings", {})
        model = engine.get("model") or policy.get("model")
        names = [settings.get("engine"), model, str(policy.get("hash", ""))[:8]]
        return " ".join(str(name) for name in names if name)
    except (TableError, AttributeError):  # missing or damaged: it can be removed all the same
        return ""


def _remove(folder: Path, dry_run: bool) -> bool:
    """Whether it is gone, or could be: False where a process holds it."""
    with rows.lock(folder, wait=False) as held:
        free = held and not rows.is_read(folder)
        if free and not dry_run:  # out of the way at once: whoever comes now begins a folder of its own
            shutil.rmtree(folder.rename(folder.with_name(f".{folder.name}.{os.getpid()}.tmp")))
        return free


def text(result: Result) -> str:
    """What is kept and what was removed, as a table on the screen."""
    header = ["kind", "made by", "rows", "MB", "days unused", "folder"]
    lines = []
    for title, entries in _titled(result):
        cells = [
            [k.kind, k.made_by, f"{k.rows:,}", f"{k.size / 1e6:,.1f}", f"{k.unused_days:,.0f}", str(k.folder)]
            for k in entries
        ]
        lines += [f"{title}: {sum(k.size for k in entries) / 1e6:,.1f} MB", *aligned([header, *cells]), ""]
    return "\n".join(lines).rstrip() or "nothing is kept"


def _titled(result: Result) -> list[tuple[str, list[Kept]]]:
    removed = "would be removed" if result.dry_run else "removed"
    titled = [(removed, result.removed), ("in use, left alone", result.busy)]
    return [(title, entries) for title, entries in [*titled, ("kept", result.kept)] if entries]
