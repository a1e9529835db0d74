"""Grades of preference: by how much the chosen completion is better, in one of ``grades`` categories.

From 0 (the rejected one is much better) to grades - 1 (the chosen one is), the same both ways round: 5 are much worse,
slightly worse, alike, slightly better, much better. An even number has no "alike".
"""

import itertools
from pathlib import Path

import numpy as np
import polars as pl

from builder import tables
from builder.errors import TableError, WimError
from builder.judging import comparisons

DELTA, COMPARISONS = "delta", "comparisons"
"""Values of reward.grades_from that are no column of somebody's own."""


def cuts(delta: pl.Series, grades: int) -> tuple[float, ...]:
    """The points above 0 at which ``delta`` is cut: its quantiles, of delta and -delta taken together.

    So the same share of pairs told both ways round falls into each grade. Raises WimError where equal deltas leave a
    grade empty.
    """
    delta = delta if grades % 2 else delta.filter(delta > 0)  # a tie has no grade there
    shares = [2 * k / grades - 1 for k in range(grades // 2 + 1, grades)]
    found = tuple(float(cut) for cut in np.quantile(delta.to_numpy(), shares)) if shares and len(delta) else ()
    edges = [*([] if grades % 2 else [0.0]), *found, float(delta.max() or 0)]  # type: ignore[arg-type]
    if any(upper <= lower for lower, upper in itertools.pairwise(edges)):
        told = ", ".join(f"{cut:g}" for cut in found)
        raise WimError(
            f"reward.grades: the deltas of {len(delta):,} pairs do not come in {grades} grades (they would be cut at "
            f"{told}, and some grade is empty); take fewer, or name their column by reward.grades_from"
        )
    return found


def of_delta(delta: pl.Series, cuts: tuple[float, ...], grades: int) -> pl.Series:
    """The grade of each delta >= 0; null for a tie where there is no middle."""
    above = sum(((delta > cut).cast(pl.Int64) for cut in cuts), pl.zeros(len(delta), pl.Int64, eager=True))
    found = grades // 2 + above
    return found if grades % 2 else found.set(delta == 0, None)


def of_values(values: pl.Series, grades: int, where: str) -> pl.Series:
    """Grades from numbers in favour of the chosen completion: 0 alike, 2 much better, -1 slightly worse, say.

    A number between two grades, as judges give who do not agree, counts as the milder one; null where it is none or,
    without a middle, 0. Raises TableError for one beyond the scale, and if there is none.
    """
    told = values.dtype.is_numeric() or values.dtype == pl.String
    most, whole = grades // 2, values.cast(pl.Float64, strict=False).fill_nan(None) if told else values.clear()
    if not whole.count():
        raise TableError(f"{where}: holds no number, and the loss is one of graded preferences")
    beyond = whole.filter(whole.abs() > most)
    if len(beyond):
        raise TableError(f"{where}: {beyond[0]:g} is beyond the grades from -{most} to {most}; see reward.grades")
    whole = whole.sign() * whole.abs().floor()
    if grades % 2:
        return (whole + most).cast(pl.Int64)
    whole = whole.set(whole == 0, None)
    return (whole + most - (whole > 0).cast(pl.Float64)).cast(pl.Int64)


def compared(folder: Path, pairs: pl.DataFrame, grades: int) -> pl.Series:
    """What pair judges (likert, say) said of the very pairs: the mean over orders and judges, for the chosen one.

    Null where a pair was not compared. Raises TableError where their scale is not that of ``grades``.
    """
    file = tables.find(folder, COMPARISONS)
    said = comparisons.counting(tables.read(file, COMPARISONS)).drop_nulls("grade")
    scales = said["most"].unique().sort().to_list()
    if scales not in ([], [grades // 2]):
        told = " and ".join(f"from -{most} to {most}" for most in scales)
        raise TableError(f"{file}: its grades run {told}; set reward.grades to {2 * scales[-1] + 1}")
    own = said.select("a", "b", pl.col("grade").cast(pl.Float64))
    both = pl.concat([own, own.select(pl.col("b").alias("a"), pl.col("a").alias("b"), -pl.col("grade"))])
    mean = both.group_by("a", "b").agg(pl.col("grade").mean())
    keys = {"left_on": ["chosen_id", "rejected_id"], "right_on": ["a", "b"]}
    joined = pairs.select("chosen_id", "rejected_id").join(mean, how="left", maintain_order="left", **keys)  # type: ignore[arg-type]
    return joined["grade"]
