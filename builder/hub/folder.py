"""The folder of a dataset: where it lies, what it holds, and what an earlier publication has left in it."""

import fnmatch
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from builder.errors import UsageError

CARD, STATS, PARAMETERS = "README.md", "stats.json", "parameters.json"
TAG = "what-is-missing"
"""In the YAML of every card that is written here: how our own publications are known."""
SOURCES = ("completions.parquet", "pairs.parquet", "policy.json")
"""A folder that holds one of these is a run or a policy: its own statistics, say, would be overwritten."""
MADE = (
    "images/*.png",
    "data/*-?????-of-?????.parquet",
    "ratings/*-?????-of-?????.parquet",
    "unprompted/*-?????-of-?????.parquet",
)
"""What comes and goes with the rows, beside card and statistics; * stands for slashes as well."""


def default(runs: Sequence[Path]) -> Path:
    """Of one run the folder `dataset` in it, of several that in the folder which holds them all."""
    absolute = any(run.is_absolute() for run in runs)
    return (
        Path(os.path.commonpath([(os.path.abspath if absolute else os.path.normpath)(run) for run in runs])) / "dataset"
    )


def check(out: Path) -> None:
    """Raises UsageError if ``out`` is a run or a policy, or holds a card that was not written here: without TAG."""
    for source in SOURCES:
        if (out / source).is_file():
            raise UsageError(f"--out {out}: holds {source}, which is no publication; take a folder of its own")
    card = out / CARD
    if card.is_file() and f"\n- {TAG}\n" not in card.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"--out {out}: its {CARD} was not written by `wim publish`; take another folder")


def begin(out: Path) -> None:
    """Take the card away: a folder without one is not finished."""
    (out / CARD).unlink(missing_ok=True)


def prune(out: Path, kept: Collection[str]) -> None:
    """Remove the rows and pictures of an earlier publication that this one has not written."""
    for file in list(out.rglob("*")):
        name = file.relative_to(out).as_posix()
        if file.is_file() and name not in kept and matches(name, MADE):
            file.unlink()


def matches(name: str, patterns: Collection[str]) -> bool:
    """As the Hub's client matches: ``*`` stands for slashes as well."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
