"""A weighted sum of other ratings: ``rate.weights``, by the rating's name.

`wim audit --truth FILE` fits weights by logistic regression on pairs (Bradley and Terry, "Rank analysis of incomplete
block designs", Biometrika, 1952); with these a delta is the log-odds that the truth prefers the chosen completion.
"""

from functools import partial

import polars as pl

from builder import ratings
from builder.errors import ParamsError
from builder.params import Params
from builder.ratings import Vectors, calibrated
from builder.statuses import Reason
from builder.streams.vectors import BLOCK, Block


class Rating:
    """Null where any of the ratings is. Raises ParamsError without weights.

    Reads what they read, and a truth: weights may come from the very one that an audit holds the sum against.
    """

    combines = True
    null_reason = Reason.UNRATED

    def __init__(self, params: Params) -> None:
        if not params.rate.weights:
            raise ParamsError("rate.method combined needs rate.weights, such as {numerical: 1, calibrated: 0.5}")
        if "combined" in params.rate.weights:
            raise ParamsError("rate.weights: combined cannot be a part of itself")
        self.parts = {name: ratings.load(name, params) for name in params.rate.weights}
        self.weights = params.rate.weights
        self.uses = frozenset({"truth"}).union(*(part.uses for part in self.parts.values()))
        together = [part for part in self.parts.values() if ratings.is_together(part)]
        self.together, self.learns = bool(together), bool(together) and all(map(ratings.learns, together))

    def texts(self, judgements: pl.DataFrame) -> list[pl.Series]:
        return [column for part in self.parts.values() for column in part.texts(judgements)]

    def learn(self, frames: calibrated.Frames) -> None:
        """As builder.ratings."""
        ratings.learn(self.parts.values(), frames)

    def rate(self, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
        total = pl.zeros(len(judgements), pl.Float64, eager=True)
        for name, part in self.parts.items():
            rate = part.rate if ratings.is_together(part) else partial(_by_block, part)
            total += self.weights[name] * rate(judgements, vectors)
        return total.alias("combined")

    def about(self) -> dict[str, object]:
        """Which models its parts ask."""
        return ratings.asked(self.parts)


def _by_block(part: ratings.Rating, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
    """What one part gives: the vectors of a whole run are too many to be held for it."""
    starts = range(0, max(len(judgements), 1), BLOCK)
    return pl.concat([part.rate(judgements.slice(start, BLOCK), Block(vectors)) for start in starts])
