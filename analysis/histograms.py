"""Ratings and deltas, counted in bins: what is drawn stays small, however many rows there are."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.runs import Run, counted
from builder import tables
from builder.compare import JudgedPairs, comparable, judged_pairs

DISPLAY = {"numerical": "rating", "wim": "wim_10"}
"""The column of the ratings table that holds a method's values on its display scale."""
WIM_SCALE = (0.0, 10.0)
RATED = ["completion_id", "prompt_id", "judge", "rating", "wim_10", "reason"]
BINS = 40
DELTA_BINS = 36  # the steps of the usual scales, 1-10 and 1-5, fall on edges of these bins

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Counted:
    """By method: the display scale, the ratings and the deltas in bins. Deltas need the completions' texts."""

    scales: dict[str, tuple[float, float]]
    ratings: dict[str, pl.DataFrame]
    deltas: dict[str, pl.DataFrame]


def of_run(run: Run) -> Counted:
    """Histograms of a run's ratings, prompt after prompt; without its completions table there are no deltas."""
    scales = {"numerical": widened(run.scale(), _ends(run)), "wim": WIM_SCALE}
    several = {column: run.several(column) for column in DISPLAY.values()}
    tallies = {method: _Tally(scale) for method, scale in scales.items()}
    for ratings, texts in run.prompts(RATED):
        known = ratings.select("completion_id", text="completion_id").unique() if texts is None else texts
        for method, found in judged(ratings, known, run.judge(), several).items():
            tallies[method].add(found, texts is not None)
    return Counted(
        scales,
        {method: tally.ratings() for method, tally in tallies.items() if tally.fine.counts.any()},
        {method: tally.deltas.table() for method, tally in tallies.items() if tally.deltas.counts.any()},
    )


def _ends(run: Run) -> pl.Series:
    """The least and the largest number that was given."""
    blocks = tables.batches(tables.find(run.path, "ratings"), "ratings", ["rating"])
    ends = [block.select(least=pl.col("rating").min(), most=pl.col("rating").max()).row(0) for block in blocks]
    return pl.Series([end for each in ends for end in each], dtype=pl.Float64)


def widened(scale: tuple[float, float], values: pl.Series) -> tuple[float, float]:
    """The scale, or more where values lie beyond it: a table made by others does not tell its scale."""
    low, high = values.drop_nulls().min(), values.drop_nulls().max()
    if not isinstance(low, float) or not isinstance(high, float):
        return scale
    return min(scale[0], low), max(scale[1], high)


def judged(
    ratings: pl.DataFrame, completions: pl.DataFrame, judge: str, several: Mapping[str, bool] | None = None
) -> dict[str, JudgedPairs]:
    """The judged pairs of each method, on its display scale, from the judgements that stats.json counts.

    ``ratings``: completion_id, prompt_id, judge, rating, wim_10, reason; ``completions``: completion_id, text.
    ``several``: by column, of ratings that are some of a run's, if more than one judge of the run has a value.
    """
    compared = ratings.filter(counted())
    return {
        method: judged_pairs(comparable(compared, completions, column, judge, several[column] if several else None))
        for method, column in DISPLAY.items()
    }


class _Tally:
    """One method's values and deltas in bins, prompt after prompt."""

    def __init__(self, scale: tuple[float, float]) -> None:
        low, high = self.scale = scale
        self.fine, self.deltas = Bins((high - low) / BINS, BINS, low), Bins(1.0 / DELTA_BINS, DELTA_BINS, 0.0)
        self.steps = Bins(1.0, round(high - low) + 1, low - 0.5) if high - low <= BINS else None

    def add(self, judged: JudgedPairs, compared: bool) -> None:
        """``compared``: whether the texts are known, so that it is known which pairs are judged."""
        values = judged.values["value"].to_numpy()
        self.fine.add(values)
        if self.steps and np.array_equal(values, np.round(values)):
            self.steps.add(values)
        else:
            self.steps = None
        if compared:
            self.deltas.add(judged.delta / (self.scale[1] - self.scale[0]))

    def ratings(self) -> pl.DataFrame:
        """A bin for each integer if all values are integers."""
        return (self.steps or self.fine).table()


def of_ratings(values: Values, scale: tuple[float, float]) -> pl.DataFrame:
    """Values on ``scale``, in bins (low, high, count, share of all): one for each integer if they are all integers."""
    low, high = scale
    if np.array_equal(values, np.round(values)) and high - low <= BINS:
        return _of(values, Bins(1.0, round(high - low) + 1, low - 0.5))
    return _of(values, Bins((high - low) / BINS, BINS, low))


def of_deltas(pairs: JudgedPairs, scale: tuple[float, float]) -> pl.DataFrame:
    """Deltas as shares of the scale's width in [0, 1], in bins (low, high, count, share of all)."""
    low, high = scale
    return of_shares(pairs.delta / (high - low))


def of_shares(deltas: Values) -> pl.DataFrame:
    """Deltas that are shares of their scale's width already, in the same bins."""
    return _of(deltas, Bins(1.0 / DELTA_BINS, DELTA_BINS, 0.0))


def _of(values: Values, bins: "Bins") -> pl.DataFrame:
    bins.add(values)
    return bins.table()


class Bins:
    """Counts of values in ``number`` bins from ``start`` on; each includes its lower edge, the outer what is beyond."""

    def __init__(self, width: float, number: int, start: float) -> None:
        self.width, self.start, self.counts = width, start, np.zeros(number, np.int64)

    def add(self, values: Values) -> None:
        """Further values."""
        index = np.floor(np.round((values - self.start) / self.width, 9)).astype(np.int64)
        self.counts += np.bincount(np.clip(index, 0, len(self.counts) - 1), minlength=len(self.counts))

    def table(self) -> pl.DataFrame:
        """low, high, count, share of all."""
        edges = np.round(self.start + self.width * np.arange(len(self.counts) + 1), 9)
        share = self.counts / max(int(self.counts.sum()), 1)
        return pl.DataFrame({"low": edges[:-1], "high": edges[1:], "count": self.counts, "share": share.round(6)})


def end(bins: pl.DataFrame) -> float:
    """The upper edge of the last bin that holds anything."""
    return float(bins.filter(pl.col("count") > 0)["high"][-1])
