"""Which completions are compared under a rating, and how they differ."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder.errors import TableError

MEAN, MEDIAN, MAJORITY = TOGETHER = ("mean", "median", "majority")
"""What ``pair.judge`` calls all judges together."""
DECIMALS = 9

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class JudgedPairs:
    """Every two comparable completions of a prompt with different texts, as rows of ``values``.

    ``values``: completion_id, prompt_id, value (and policy); sorted by prompt, then best first, then by id.
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


def check_judge(judge: str, names: Iterable[str]) -> None:
    """Raises TableError unless ``judge`` (pair.judge) is one of a run's judges, by their ``names``, or all together."""
    names = sorted(set(names))
    for name in set(TOGETHER) & set(names):
        raise TableError(f"a judge is called {name!r}, which is what pair.judge calls all of them; rename it")
    if judge not in (*TOGETHER, *names):
        known = ", ".join([*TOGETHER, *filter(None, names)])
        raise TableError(f"pair.judge is {judge!r}; there are {known}")


def scaled(judge: str) -> str:
    """Whose values are shown on a rating's own scale: a majority has an order and no scale, so the median's."""
    return MEDIAN if judge == MAJORITY else judge


def comparable(
    ratings: pl.DataFrame, completions: pl.DataFrame, column: str, judge: str, several: bool | None = None
) -> pl.DataFrame:
    """One ``value`` of ``column`` per ratable completion: one judge's, or that of all judges together.

    ``ratings`` has a null in ``column`` where a judgement is not ratable. Of several judges together a completion
    counts if every judge with a ratable judgement on its prompt has one on it. ``mean`` and ``median`` are over
    judges; ``majority``: from -1 to 1 how many of the prompt's other completions most judges place below it
    (Copeland's method), so that of two completions the one that more judges prefer is better. ``several``: whether the
    run's values are of more than one judge, where ``ratings`` are those of some of its prompts. Columns:
    completion_id, prompt_id, value, text (a hash that is equal for equal texts), and policy if ``completions`` has it.
    """
    ratable = ratings.select("completion_id", "prompt_id", "judge", pl.col(column).alias("value")).drop_nulls("value")
    if judge not in TOGETHER:
        ratable = ratable.filter(pl.col("judge") == judge)
    elif ratable["judge"].n_unique() > 1 if several is None else several:
        ratable = _together(ratable, judge)
    written = [name for name in ("policy",) if name in completions.columns]
    texts = completions.select("completion_id", pl.col("text").hash(), *written)
    return ratable.drop("judge").join(texts, on="completion_id", how="left", maintain_order="left")


def _together(ratable: pl.DataFrame, judge: str) -> pl.DataFrame:
    """One value for each completion that all judges of its prompt have rated."""
    judges = ratable.group_by("prompt_id").agg(pl.col("judge").n_unique().alias("judges"))
    complete = ratable.with_columns(said=pl.len().over("completion_id"))
    complete = complete.join(judges, on="prompt_id", how="left", maintain_order="left")
    complete = complete.filter(pl.col("said") == pl.col("judges")).sort("completion_id", "judge")
    value = pl.col("value").median() if judge == MEDIAN else pl.col("value").mean()
    made = complete.group_by("completion_id", maintain_order=True).agg(
        pl.col("prompt_id").first(), pl.lit(judge).alias("judge"), value
    )
    if judge != MAJORITY:
        return made
    return made.drop("value").join(_copeland(complete), on="completion_id", how="left", maintain_order="left")


def _copeland(complete: pl.DataFrame) -> pl.DataFrame:
    """Columns completion_id, value: wins less losses against the prompt's others, over how many these are."""
    own = complete.select("completion_id", "prompt_id", "judge", "value")
    both = own.join(own, on=["prompt_id", "judge"], suffix="_other")
    votes = (pl.col("value") - pl.col("value_other")).round(DECIMALS).sign().sum()
    duels = both.group_by("completion_id", "completion_id_other").agg(won=votes.sign())
    others = pl.max_horizontal(pl.len() - 1, 1)  # a completion is there beside itself, as a tie
    return duels.group_by("completion_id").agg(value=pl.col("won").sum() / others)


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
