"""The judge's number, refined by its words: R + 0.5 * ``calibrated``.

Numbers crowd on a few values. What number the words stand for (calibrated.py) decides between completions whose
numbers are equal, and between neighbours where the words speak clearly against the numbers.
"""

import polars as pl

from builder.params import Params
from builder.ratings import Vectors, calibrated, numerical
from builder.statuses import Reason

SHARE = 0.5
"""Of the words. From 0.3 to 1 the agreement hardly changes (docs/ratings.md)."""


class Rating:
    """Both centred as R is. Null where the number is, or where the judge gave too few numbers to learn from."""

    uses = frozenset({"number", "text"})
    together = learns = True
    combines = True
    null_reason = Reason.UNCALIBRATED

    def __init__(self, params: Params) -> None:
        self.numerical, self.calibrated = numerical.Rating(params), calibrated.Rating(params)

    def texts(self, judgements: pl.DataFrame) -> list[pl.Series]:
        del judgements
        return []

    def learn(self, frames: calibrated.Frames) -> None:
        """As builder.ratings."""
        self.calibrated.learn(frames)

    def rate(self, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
        words = self.calibrated.rate(judgements, vectors)
        return (self.numerical.rate(judgements, vectors) + SHARE * words).alias("refined")
