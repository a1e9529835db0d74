"""Run folders as the report reads them. Statistics and ratings must be there; all else may be missing."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from builder import tables
from builder.compare import MEAN, scaled
from builder.errors import TableError
from builder.params import Rating
from builder.remote import locations
from builder.statuses import Reason
from builder.streams import spans

COUNTED = {"prompts", "completions", "judgements", "pairs", "methods"}
EVALUATED = {f"{part}{end}" for part in ("", "base_") for end in ("mean", "low", "high")}
BLOCK = 16_384
PART = 65_536
"""Rows of whole prompts that are compared at once, about."""
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
        """The rows whose ``key`` is among ``wanted``, as they lie there; None where the run has no such table."""
        file = tables.path(self.path, name)
        if not file.is_file():
            return None
        ids = wanted.unique().implode()
        found = (frame.filter(pl.col(key).is_in(ids)) for frame in tables.batches(file, name, columns, BLOCK))
        return pl.concat([tables.read_nothing(file, name, columns), *map(tables.detached, found)])

    def prompts(self, columns: Sequence[str]) -> Iterator[tuple[pl.DataFrame, pl.DataFrame | None]]:
        """Some whole prompts at a time: ``columns`` of their ratings, and completion_id and text of their completions.

        ``columns`` has prompt_id. Without completions there are no texts.
        """
        ratings, completions = tables.find(self.path, "ratings"), tables.path(self.path, "completions")
        rated = spans.Reader(ratings, "ratings", columns, "prompt_id")
        if not completions.is_file():
            yield from ((rated(span), None) for span in spans.plan(ratings, "ratings", "prompt_id", _rows(rated)))
            return
        answered = spans.Reader(completions, "completions", ["completion_id", "prompt_id", "text"], "prompt_id")
        for span in spans.plan(completions, "completions", "prompt_id", _rows(rated, answered)):
            yield rated(span), answered(span).drop("prompt_id")

    def several(self, column: str) -> bool:
        """Whether more than one judge has a value in ``column`` of the ratings, for a completion that is not empty."""
        judges = set[str]()
        for block in tables.batches(tables.find(self.path, "ratings"), "ratings", ["judge", "reason", column]):
            judges.update(block.filter(counted(), pl.col(column).is_not_null())["judge"].unique())
        return len(judges) > 1

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


def counted() -> pl.Expr:
    """The judgements that stats.json counts: on an empty completion none does."""
    return pl.col("reason").fill_null("") != str(Reason.EMPTY_COMPLETION)


def _rows(*readers: spans.Reader) -> int:
    """How many at a time; a table that is not sorted is read anew each time."""
    return PART if all(reader.sorted for reader in readers) else spans.ROWS


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
    first = next(tables.batches(file, "pairs", ["arm", "round"], 1), None) if file.is_file() else None
    arm, index = first.row(0) if first is not None else ("", 0)
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
