"""Which completions are compared under a rating, and how they differ."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

MEAN = "mean"
DECIMALS = 9

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class JudgedPairs:
    """Every two comparable completions of a prompt with different texts, as rows of ``values``.

    ``values``: completion_id, prompt_id, value; sorted by prompt, then best first, then by id.
    ``better`` and ``worse`` are its rows, ``delta`` = value[better] - value[worse] >= 0.
    """

    values: pl.DataFrame
    better: Rows
    worse: Rows
    delta: NDArray[np.float64]

    def tied(self, min_gap: float) -> NDArray[np.bool_]:
        """Whether the delta, rounded to 9 decimals, is at most ``min_gap``."""
        return np.round(self.delta, DECIMALS) <= min_gap

    def prompts(self) -> NDArray[np.int64]:
        """A number for each pair's prompt."""
        return self.values["prompt_id"].rle_id().to_numpy().astype(np.int64)[self.better]


def comparable(ratings: pl.DataFrame, completions: pl.DataFrame, column: str, judge: str) -> pl.DataFrame:
    """One ``value`` of ``column`` per ratable completion: one judge's, or the mean over judges.

    ``ratings`` has a null in ``column`` where a judgement is not ratable. Under ``mean`` a completion
    counts if every judge with a ratable judgement on its prompt has one on it. Columns: completion_id,
    prompt_id, value, text (a hash that is equal for equal texts).
    """
    ratable = ratings.select("completion_id", "prompt_id", "judge", pl.col(column).alias("value")).drop_nulls("value")
    if judge != MEAN:
        ratable = ratable.filter(pl.col("judge") == judge)
    elif ratable["judge"].n_unique() > 1:
        ratable = _means(ratable)
    texts = completions.select("completion_id", pl.col("text").hash())
    return ratable.drop("judge").join(texts, on="completion_id", how="left", maintain_order="left")


def _means(ratable: pl.DataFrame) -> pl.DataFrame:
    judges = ratable.group_by("prompt_id").agg(pl.col("judge").n_unique().alias("judges"))
    means = (
        ratable.sort("completion_id", "judge")
        .group_by("completion_id", maintain_order=True)
        .agg(pl.col("prompt_id").first(), pl.lit(MEAN).alias("judge"), pl.col("value").mean(), pl.len().alias("said"))
    )
    means = means.join(judges, on="prompt_id", how="left", maintain_order="left")
    return means.filter(pl.col("said") == pl.col("judges")).select("completion_id", "prompt_id", "judge", "value")


def judged_pairs(values: pl.DataFrame) -> JudgedPairs:
    """All judged pairs of ``comparable``'s values: each row with those up to d rows below it, d = 1, 2, ..."""
    values = values.sort("prompt_id", "value", "completion_id", descending=[False, True, False])
    number, text = values["value"].to_numpy(), values["text"].to_numpy()
    prompt = values["prompt_id"].rle_id().to_numpy()
    ends = np.flatnonzero(np.diff(prompt, append=-1)) + 1
    end = ends[prompt] if len(values) else ends
    upper = np.arange(len(values))
    better, worse = [upper[:0]], [upper[:0]]
    distance = 1
    while len(upper := upper[upper + distance < end[upper]]):
        differ = text[upper] != text[upper + distance]
        better.append(upper[differ])
        worse.append(upper[differ] + distance)
        distance += 1
    left, right = np.concatenate(better), np.concatenate(worse)
    return JudgedPairs(values.drop("text"), left, right, number[left] - number[right])
