"""Do repeated judgements agree? Krippendorff's alpha and intraclass correlations, from [raters, units] with NaN.

Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011); Shrout and Fleiss, "Intraclass correlations: uses
in assessing rater reliability" (1979). 1 is perfect agreement, 0 what chance would give.
"""

from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ratings = NDArray[np.float64]
"""[raters, units]; NaN where a rater has not rated a unit."""


def alpha(ratings: Ratings, level: Literal["interval", "ordinal"] = "interval") -> float | None:
    """Krippendorff's alpha, 1 - observed / expected disagreement; None where all values are equal or none is paired.

    The difference of two values is squared (interval), or that of their mean ranks (ordinal), which is the same as
    Krippendorff's sum over the values between them.
    """
    ratings = np.asarray(ratings, np.float64)
    ratings = ratings[:, np.isfinite(ratings).sum(0) >= 2]
    held = np.isfinite(ratings)
    if not _vary(ratings):
        return None
    if level == "ordinal":
        ratings = ratings.copy()
        ratings[held] = pl.Series(ratings[held]).rank("average").to_numpy()
    values = np.where(held, ratings - ratings[held].mean(), 0.0)
    rated, n = held.sum(0), int(held.sum())
    observed = float((_differences(values, rated) / (rated - 1)).sum()) / n
    expected = float(_differences(values.reshape(-1, 1), np.array([n]))[0]) / (n * (n - 1))
    return 1 - observed / expected


def _differences(values: Ratings, counts: NDArray[np.int64]) -> Ratings:
    """The sum over ordered pairs of the squared difference, by column; absent values stand as 0."""
    sums: Ratings = 2 * counts * (values**2).sum(0) - 2 * values.sum(0) ** 2
    return sums


def icc1(ratings: Ratings) -> float | None:
    """ICC(1,1), one-way: any asking of a judge stands for any other; units may be rated any number of times."""
    ratings = np.asarray(ratings, np.float64)
    ratings = ratings[:, np.isfinite(ratings).sum(0) >= 2]
    held = np.isfinite(ratings)
    rated, n, units = held.sum(0), int(held.sum()), ratings.shape[1]
    if units < 2 or not _vary(ratings):
        return None
    means = np.nanmean(ratings, 0)
    between = float((rated * (means - ratings[held].mean()) ** 2).sum()) / (units - 1)
    inside = float(np.nansum((ratings - means) ** 2)) / (n - units)
    typical = (n - float((rated**2).sum()) / n) / (units - 1)
    return _ratio(between - inside, between + (typical - 1) * inside)


def icc2(ratings: Ratings) -> float | None:
    """ICC(2,1), two-way random: a rater who is higher throughout disagrees. Only units that all have rated count."""
    ratings = np.asarray(ratings, np.float64)
    ratings = ratings[:, np.isfinite(ratings).all(0)]
    raters, units = ratings.shape
    if raters < 2 or units < 2 or not _vary(ratings):
        return None
    rows, columns, mean = ratings.mean(1, keepdims=True), ratings.mean(0, keepdims=True), ratings.mean()
    between = raters * float(((columns - mean) ** 2).sum()) / (units - 1)
    judges = units * float(((rows - mean) ** 2).sum()) / (raters - 1)
    error = float(((ratings - rows - columns + mean) ** 2).sum()) / ((units - 1) * (raters - 1))
    return _ratio(between - error, between + (raters - 1) * error + raters * (judges - error) / units)


def _vary(ratings: Ratings) -> bool:
    """Whether there are different values: rounding would make something of the differences of equal ones."""
    return len(np.unique(ratings[np.isfinite(ratings)])) > 1


def _ratio(above: float, below: float) -> float | None:
    return above / below if below > 0 else None
