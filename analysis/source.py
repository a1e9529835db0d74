"""What the notebooks look at: a run folder, a dataset that `wim publish` wrote, or one on the Hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from analysis import histograms, published
from analysis import runs as folders
from analysis.published import Published
from builder import tables
from builder.compare import DECIMALS, MEAN, JudgedPairs, scaled
from builder.params import Rating

FIGURES = ("tie_rate", "average_delta", "normalised_delta", "effect_delta")
RATED = [*histograms.RATED, "reward"]


@dataclass(frozen=True)
class Source:
    """A run: its pairs, its ratings (RATED), the judged pairs of each method and the ends of its display scale.

    ``evaluation``: evaluation.json; None where the policy was not evaluated, and of a dataset.
    """

    label: str
    pairs: pl.DataFrame
    ratings: pl.DataFrame
    judged: dict[str, JudgedPairs]
    scales: dict[str, tuple[float, float]]
    evaluation: dict[str, Any] | None


def read(name: str) -> Source:
    """The run of that path or name, of several the last. Raises WimError if it is neither a run nor a dataset."""
    return list(read_all(name).values())[-1]


def read_all(name: str) -> dict[str, Source]:
    """The runs by their labels; of a dataset ``NAME:ARM-roundK`` is one of them. Raises WimError as ``read``."""
    whole, label = published.named(name)
    is_run = tables.path(Path(whole), "ratings").is_file()
    found = [_of_run(Path(whole))] if is_run else _of_dataset(whole)
    return published.chosen(whole, {each.label: each for each in found}, label)


def _of_run(folder: Path) -> Source:
    run = folders.load([folder])[0]
    ratings = tables.read(tables.path(folder, "ratings"), "ratings", RATED)
    texts = tables.read(tables.find(folder, "completions"), "completions", ["completion_id", "text"])
    pairs = tables.read(tables.find(folder, "pairs"), "pairs")
    return _source(published.label_of(folder, pairs), pairs, ratings, texts, run.judge(), run.scale(), run.evaluation)


def _of_dataset(name: str) -> list[Source]:
    found = published.find(name)
    pairs, ratings = pl.concat(found.pairs()), pl.concat(found.ratings([*RATED, *published.RUN, "completion"]))
    return [_of_part(found, arm, index, pairs, ratings) for arm, index in sorted(published.runs_of(found, ratings))]


def _of_part(found: Published, arm: str, index: int, pairs: pl.DataFrame, ratings: pl.DataFrame) -> Source:
    pairs, ratings = (frame.filter(arm=arm, round=index) for frame in (pairs, ratings))
    texts = ratings.select("completion_id", text="completion").unique("completion_id", maintain_order=True)
    judge = scaled(pairs["judge"][0]) if len(pairs) else MEAN
    stages = found.of(found.parameters, arm, index) or {}
    low, high = stages.get("rate", {}).get("rating", {}).get("scale", Rating().scale)
    rated = ratings.drop("completion", *published.RUN)
    return _source(published.label(arm, index), pairs, rated, texts, judge, (float(low), float(high)), None)


def _source(
    label: str, pairs: pl.DataFrame, ratings: pl.DataFrame, texts: pl.DataFrame, judge: str,
    scale: tuple[float, float], evaluation: dict[str, Any] | None,
) -> Source:  # fmt: skip
    scales = {"numerical": histograms.widened(scale, ratings["rating"]), "wim": histograms.WIM_SCALE}
    return Source(label, pairs, ratings, histograms.judged(ratings, texts, judge), scales, evaluation)


def ties(source: Source, gap: float = 0.0) -> pl.DataFrame:
    """Tie statistics by method; a tie is a delta of at most ``gap`` of the scale's width, in [0, 1]."""
    rows = [_ties(method, pairs, source.scales[method], gap) for method, pairs in source.judged.items()]
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(FIGURES, pl.Float64))


def _ties(method: str, pairs: JudgedPairs, scale: tuple[float, float], gap: float) -> dict[str, Any]:
    width = scale[1] - scale[0]
    tied = int(((pairs.delta / width).round(DECIMALS) <= gap).sum())
    average = float(pairs.delta.mean()) if len(pairs.delta) else None
    std = float(pairs.values["value"].to_numpy().std()) if len(pairs.values) else 0.0
    return {
        "method": method,
        "judged_pairs": len(pairs.delta),
        "ties": tied,
        "tie_rate": tied / len(pairs.delta) if len(pairs.delta) else None,
        "average_delta": average,
        "normalised_delta": average / width if average is not None else None,
        "effect_delta": average / std if average is not None and std else None,
    }
