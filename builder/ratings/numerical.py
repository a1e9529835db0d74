"""The judge's own number, centred: R = (rating - r0) / r0 with r0 the middle of the scale (eq. 9)."""

import polars as pl

from builder.params import Params
from builder.ratings import Vectors


class Rating:
    """R of ``rating``, which is on the scale of the parameters; ``rescale`` divides by half the scale's width."""

    uses = frozenset({"number"})

    def __init__(self, params: Params) -> None:
        low, high = params.rating.scale
        self.middle = (low + high) / 2
        self.divisor = (high - low) / 2 if params.rating.rescale else self.middle

    def texts(self, judgements: pl.DataFrame) -> list[pl.Series]:
        del judgements
        return []

    def rate(self, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
        del vectors
        return self.centred(judgements["rating"]).alias("R")

    def centred(self, numbers: pl.Series) -> pl.Series:
        """R of numbers on the scale of the parameters."""
        return (numbers - self.middle) / self.divisor
