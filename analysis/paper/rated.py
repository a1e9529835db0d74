"""What stats.json says of one run, summed by prompt over many: tie rates, deltas, the shape of the ratings.

Every statistic is a function of sums (of pairs, of ties, of powers of the values), so that it is the same
number as in stats.json for one run, and can be resampled.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.histograms import WIM_SCALE, widened
from analysis.intervals import Estimate, Numbers, Sums, pigeonhole
from analysis.paper.experiment import Cell
from analysis.runs import Run
from builder import tables
from builder.compare import JudgedPairs, comparable, judged_pairs
from builder.params import Rating

METHODS = {"numerical": "R", "wim": "wim"}
"""The column that a method compares, as stats.json does."""
READ = ["completion_id", "prompt_id", "judge", "rating", "R", "wim", "reason"]


@dataclass(frozen=True)
class Rated:
    """One run's judged pairs under a method. Values and deltas are on the display scale ``scale``."""

    seed: int
    arm: str
    round: int
    scale: tuple[float, float]
    min_gap: float
    factor: float
    pairs: JudgedPairs

    @property
    def values(self) -> Numbers:
        """One for each comparable completion."""
        return middle(self.scale) + self.factor * self.pairs.values["value"].to_numpy()

    def by_prompt(self) -> pl.DataFrame:
        """prompt_id, pairs, ties, delta, and sums of the powers of the values less the scale's middle."""
        of_values = summed(self.pairs.values["prompt_id"], powers(self.values - middle(self.scale), "v"))
        of_pairs = summed(
            self.pairs.values["prompt_id"].gather(self.pairs.better),
            {
                "pairs": np.ones(len(self.pairs.delta)),
                "ties": self.pairs.tied(self.min_gap).astype(np.float64),
                "delta": self.factor * self.pairs.delta,
            },
        )
        return of_values.join(of_pairs, on="prompt_id", how="left").fill_null(0.0)


def powers(centred: Numbers, prefix: str, highest: int = 3) -> dict[str, Numbers]:
    """``v0`` (ones), ``v1``, ... to the highest power."""
    return {f"{prefix}{power}": centred**power for power in range(highest + 1)}


def summed(prompts: pl.Series, columns: dict[str, Numbers]) -> pl.DataFrame:
    """The columns' sums by prompt_id."""
    frame = pl.DataFrame({"prompt_id": prompts, **columns})
    return frame.group_by("prompt_id", maintain_order=True).sum()


def middle(scale: tuple[float, float]) -> float:
    return (scale[0] + scale[1]) / 2


def of_cells(cells: Iterable[Cell]) -> dict[str, list[Rated]]:
    """By method. Runs of one seed and round that hold the same judgements, as those of round 0, count once."""
    rated: dict[str, list[Rated]] = {method: [] for method in METHODS}
    seen = set[tuple[int, int, object]]()
    for cell in cells:
        ratings = tables.read(tables.find(cell.run.path, "ratings"), "ratings", READ)
        # As in stats.json: a judgement on an empty completion counts nowhere. Other reasons are the arm's own.
        ratings = ratings.filter(pl.col("reason").fill_null("") != "empty_completion").drop("reason")
        key = (cell.seed, cell.round, ratings.hash_rows(seed=0).sum())
        if key in seen:
            continue
        seen.add(key)
        for method, one in _of_run(cell, ratings).items():
            rated[method].append(one)
    return rated


def _of_run(cell: Cell, ratings: pl.DataFrame) -> dict[str, Rated]:
    completions = cell.run.table("completions", ["completion_id", "text"])
    texts = ratings.select("completion_id", text="completion_id").unique() if completions is None else completions
    gap = float(cell.run.settings("pairs").get("pair", {}).get("min_gap", 0.0))
    scales = {"numerical": widened(cell.run.scale(), ratings["rating"]), "wim": WIM_SCALE}
    factors = {"numerical": _per_r(cell.run), "wim": middle(WIM_SCALE)}
    found = {}
    for method, column in METHODS.items():
        pairs = judged_pairs(comparable(ratings, texts, column, cell.run.judge()))
        found[method] = Rated(cell.seed, cell.arm, cell.round, scales[method], gap, factors[method], pairs)
    return found


def _per_r(run: Run) -> float:
    """How far the number moves as R moves by 1."""
    low, high = run.scale()
    rescale = run.settings("ratings").get("rating", {}).get("rescale", Rating().rescale)
    return (high - low) / 2 if rescale else abs(high + low) / 2


def sums(rated: Sequence[Rated]) -> Sums:
    """Resampled sums over runs of one or several seeds, arms and rounds."""
    frames = [one.by_prompt().with_columns(seed=pl.lit(one.seed)) for one in rated]
    frame = pl.concat(frames).group_by("seed", "prompt_id").sum().sort("seed", "prompt_id")
    return pigeonhole(cells(frame))


def cells(frame: pl.DataFrame) -> dict[str, Numbers]:
    """Every further column of (seed, prompt_id, ...) as [seeds, prompts]; 0 where there is no row."""
    seeds, prompts = (frame[name].unique().sort() for name in ("seed", "prompt_id"))
    row = frame["seed"].rank("dense").to_numpy().astype(np.int64) - 1
    column = frame["prompt_id"].rank("dense").to_numpy().astype(np.int64) - 1
    found = {}
    for name in frame.columns[2:]:
        found[name] = np.zeros((len(seeds), len(prompts)))
        found[name][row, column] = frame[name].to_numpy()
    return found


def moments(of: dict[str, Numbers], prefix: str = "v") -> tuple[Numbers, Numbers, Numbers]:
    """Mean, second and third central moment from the sums of powers; a variance that is only rounding is NaN."""
    m1, m2, m3 = (of[f"{prefix}{power}"] / of[f"{prefix}0"] for power in (1, 2, 3))
    variance = m2 - m1**2
    return m1, np.where(variance > 1e-12, variance, np.nan), m3 - 3 * m1 * m2 + 2 * m1**3


def std(of: dict[str, Numbers]) -> Numbers:
    """The standard deviation of the values (ddof 0)."""
    root: Numbers = np.sqrt(moments(of)[1])
    return root


def skewness(of: dict[str, Numbers], prefix: str = "v") -> Numbers:
    """The biased g1."""
    _, m2, m3 = moments(of, prefix)
    return m3 / m2**1.5


def statistics(found: Sums, width: float) -> dict[str, Estimate]:
    """The statistics of stats.json by their names there."""
    delta = found.ratio("delta", "pairs")
    return {
        "tie_rate": found.ratio("ties", "pairs"),
        "average_delta": delta,
        "normalised_delta": delta / width,
        "effect_delta": found.estimate(lambda of: of["delta"] / of["pairs"] / std(of)),
        "skewness": found.estimate(skewness),
    }
