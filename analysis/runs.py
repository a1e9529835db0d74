"""Run folders as the report reads them. Statistics and ratings must be there; all else may be missing."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from builder import tables
from builder.compare import MEAN, scaled
from builder.errors import TableError
from builder.params import Rating
from builder.remote import locations

COUNTED = {"prompts", "completions", "judgements", "pairs", "methods"}
EVALUATED = {f"{part}{end}" for part in ("", "base_") for end in ("mean", "low", "high")}
BLOCK = 16_384
SEED = ", seed "
"""Between an arm's name and its seed, where arms are told apart by them."""
EVALUATED |= {"n", "difference", "difference_low", "difference_high"}


@dataclass(frozen=True)
class Run:
    """One round of one arm: stats.json and, where the policy was evaluated, evaluation.json."""

    path: Path
    arm: str
    round: int
    label: str
    stats: dict[str, Any]
    evaluation: dict[str, Any] | None

    def table(self, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame | None:
        """The table of that name, None where the run has none."""
        file = tables.path(self.path, name)
        return tables.read(file, name, columns) if file.is_file() else None

    def rows(self, name: str, columns: Sequence[str], key: str, wanted: pl.Series) -> pl.DataFrame | None:
        """The rows whose ``key`` is among ``wanted``, streamed; None where the run has no such table."""
        file = tables.path(self.path, name)
        if not file.is_file():
            return None
        ids = wanted.unique().implode()
        blocks = [frame.filter(pl.col(key).is_in(ids)) for frame in tables.read_blocks(file, name, columns, key, BLOCK)]
        return pl.concat(blocks) if blocks else tables.read(file, name, columns)

    @cached_property
    def texts(self) -> pl.DataFrame | None:
        """completion_id and ``text``, a hash that is equal for equal texts; None without completions."""
        file = tables.path(self.path, "completions")
        if not file.is_file():
            return None
        blocks = tables.read_blocks(file, "completions", ["completion_id", "text"], "completion_id", BLOCK)
        frames = [frame.with_columns(pl.col("text").hash()) for frame in blocks]
        return pl.concat([pl.DataFrame(schema={"completion_id": pl.String, "text": pl.UInt64}), *frames])

    def scale(self) -> tuple[float, float]:
        """The scale of the ``rating`` column, as the ratings table says it was made."""
        low, high = self.settings("ratings").get("rating", {}).get("scale", Rating().scale)
        return float(low), float(high)

    def seed(self) -> int | None:
        """The seed that the run's tables name; None for tables made by others."""
        said = (self.settings(name).get("seed") for name in ("completions", "ratings", "pairs", "training"))
        return next((seed for seed in said if isinstance(seed, int)), None)

    def judge(self) -> str:
        """Whose ratings are shown: those that the pairs compare, as far as they have a scale."""
        return scaled(str(self.settings("pairs").get("pair", {}).get("judge", MEAN)))

    def settings(self, name: str) -> dict[str, Any]:
        """The parameters that the table says it was made with; empty where it says none."""
        file = tables.path(self.path, name)
        settings: dict[str, Any] = tables.read_metadata(file).get("params", {}) if file.is_file() else {}
        return settings


def load(paths: Sequence[Path]) -> list[Run]:
    """The runs, arms in the order given, each arm's rounds in theirs. Raises TableError for what is no run.

    Where two runs are the same round of the same arm, their seeds tell them apart, or else their paths.
    """
    runs = [_load(path) for path in dict.fromkeys(paths)]
    by_seed = [_by_seed(run) for run in runs]
    if _clashing(runs) and not _clashing(by_seed):
        runs = by_seed
    clashing = _clashing(runs)
    runs = [_by_path(run) if (run.arm, run.round) in clashing or run.label in clashing else run for run in runs]
    arms = list(dict.fromkeys(run.arm for run in runs))
    return sorted(runs, key=lambda run: (arms.index(run.arm), run.round))


def _load(path: Path) -> Run:
    if not path.is_dir():
        raise TableError(f"{path}: there is no such run folder")
    if not (path / "stats.json").is_file():
        raise TableError(f"{path}: holds no stats.json; is it the folder of one run, and has `wim pair` filled it?")
    stats = _json(path / "stats.json", COUNTED)
    tables.open_parquet(tables.find(path, "ratings")).close()
    arm, index, label = named(path)
    return Run(path, arm, index, label, stats, _evaluation(path / "evaluation.json"))


def _evaluation(file: Path) -> dict[str, Any] | None:
    """What was measured on held-out prompts; None if nothing was, for want of a policy or of prompts."""
    if not file.is_file() or _json(file, {"n"})["n"] == 0:
        return None
    return _json(file, EVALUATED)


def _json(file: Path, keys: Collection[str]) -> dict[str, Any]:
    value = tables.read_json(file)
    absent = sorted(set(keys) - set(value)) if isinstance(value, dict) else sorted(keys)
    if absent:
        raise TableError(f"{file}: {', '.join(absent)} expected; is {file.parent} the folder of one run?")
    return dict(value)


def named(path: Path) -> tuple[str, int, str]:
    """Arm, round and label from the pairs table or, if it names no arm, from the folders' names."""
    file = tables.path(path, "pairs")
    first = tables.read(file, "pairs", ["arm", "round"]).head(1).rows() if file.is_file() else []
    arm, index = first[0] if first else ("", 0)
    folder = path.resolve()
    if not arm and folder.name.isdigit():
        arm, index = folder.parent.name, int(folder.name)
    return (arm, index, f"{arm}, round {index}") if arm else (folder.name, index, folder.name)


def _clashing(runs: Sequence[Run]) -> set[tuple[str, int] | str]:
    """Arm and round that several have, and labels: a folder's name is the label of each round that lies in one."""
    names = Counter[tuple[str, int] | str](name for run in runs for name in ((run.arm, run.round), run.label))
    return {name for name, times in names.items() if times > 1}


def _by_seed(run: Run) -> Run:
    seed = run.seed()
    if seed is None:
        return run
    arm = f"{run.arm}{SEED}{seed}"
    return replace(run, arm=arm, label=f"{arm}, round {run.round}")


def _by_path(run: Run) -> Run:
    arm = run.path.parent if run.path.name == str(run.round) else run.path
    return replace(run, arm=locations.named(str(arm)), label=locations.named(str(run.path)))
