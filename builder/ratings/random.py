"""The control: a number in [-1, 1) drawn for each completion, whatever was said of it."""

import polars as pl

from builder.ids import uniform_of
from builder.params import Params
from builder.ratings import Vectors


class Rating:
    """Drawn from the run's seed and the row's ids alone, so that it is the same in every batch."""

    uses = frozenset({"chance"})

    def __init__(self, params: Params) -> None:
        self.seed = params.seed

    def texts(self, judgements: pl.DataFrame) -> list[pl.Series]:
        del judgements
        return []

    def rate(self, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
        del vectors
        rows = judgements.select("completion_id", "judge").iter_rows()
        return pl.Series([2 * uniform_of(self.seed, "\n".join(row)) - 1 for row in rows], dtype=pl.Float64)
