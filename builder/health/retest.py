"""Test and retest: what a judge says of the same completion when it is asked again.

Judgements NAME, NAME#0, NAME#1, ... of a completion are askings of one judge, as `wim ingest` names them. Attempts are
not: a second one is made only where the first could not be read.
"""

from typing import Any

import numpy as np
import polars as pl

from builder.health import correlation, reliability

AGAIN = r"#\d+$"
MOST = 20
"""Judges that are told apart; what is kept in stats.json must stay small."""


def name(judge: pl.Expr) -> pl.Expr:
    """The judge's name without the number of the asking."""
    return judge.str.replace(AGAIN, "")


def agreement(ratings: pl.DataFrame) -> dict[str, Any]:
    """By judge that was asked more than once: alpha, ICC and ranks of its numbers and of WIM; empty where none was.

    ``ratings``: completion_id, prompt_id, judge, rating, wim.
    """
    judged = ratings.filter(pl.col("judge") != "").with_columns(name(pl.col("judge")).alias("who"))
    counted = judged.group_by("who").agg(pl.col("judge").n_unique().alias("askings"), pl.len().alias("rows"))
    again = counted.filter(pl.col("askings") > 1).sort("rows", "who", descending=[True, False]).head(MOST)["who"]
    found = {who: _of_judge(judged.filter(pl.col("who") == who)) for who in again}
    return {who: agreed for who, agreed in found.items() if agreed["completions"]}


def _of_judge(judged: pl.DataFrame) -> dict[str, Any]:
    times = judged.group_by("completion_id").len()["len"].to_numpy()
    told = {"completions": int((times > 1).sum()), "askings": int(times.max(initial=0))}
    return told | {column: _figures(judged, column) for column in ("rating", "wim")}


def _figures(judged: pl.DataFrame, column: str) -> dict[str, Any]:
    matrix = _matrix(judged.drop_nulls(column), column)
    figures = {"alpha": reliability.alpha, "icc1": reliability.icc1, "icc2": reliability.icc2}
    found = {what: figure(matrix) for what, figure in figures.items()}
    rounded = {what: None if value is None else round(value, 6) for what, value in found.items()}
    n = int((np.isfinite(matrix).sum(0) > 1).sum())
    return rounded | {"within": _within(judged.drop_nulls(column), column), "n": n}


def _within(judged: pl.DataFrame, column: str) -> float | None:
    """Rank correlation of a completion's first two askings, within prompts: does the order of a pair come again?"""
    ordered = judged.sort("completion_id", "judge").select("completion_id", "prompt_id", column)
    asking = pl.int_range(pl.len()).over("completion_id")
    first, second = (ordered.filter(asking == number) for number in (0, 1))
    both = first.join(second.rename({column: "again"}), on=["completion_id", "prompt_id"])
    within: float | None = correlation.ranks(both, column, "again", ["prompt_id"])["within"]
    return within


def _matrix(judged: pl.DataFrame, column: str) -> reliability.Ratings:
    """[askings, completions], NaN where one was not made."""
    asking, unit = (judged[key].rank("dense").cast(pl.Int64).to_numpy() - 1 for key in ("judge", "completion_id"))
    shape = (int(asking.max()) + 1, int(unit.max()) + 1) if len(judged) else (0, 0)
    matrix = np.full(shape, np.nan)
    matrix[asking, unit] = judged[column].to_numpy()
    return matrix
