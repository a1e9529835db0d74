"""``refined``, and a little for length: R + 0.5 * calibrated + 0.06 * ln(characters of the completion).

Judges and people alike prefer longer answers of like quality more often than not (Dubois et al., "Length-Controlled
AlpacaEval", 2024). Where what is learned may not grow longer, use ``refined``; the audit shows both over pairs of like
length.
"""

import polars as pl

from builder.params import Params
from builder.ratings import Vectors, calibrated, refined
from builder.statuses import Reason

PER_E_FOLD = 0.06
"""On the scale of R: a text 2.7 times as long is worth a third of a step of a judge that rates from 1 to 10."""


class Rating:
    """Null where ``refined`` is."""

    uses = frozenset({"number", "text", "length"})
    together = learns = True
    combines = True
    null_reason = Reason.UNCALIBRATED

    def __init__(self, params: Params) -> None:
        self.refined = refined.Rating(params)

    def texts(self, judgements: pl.DataFrame) -> list[pl.Series]:
        del judgements
        return []

    def learn(self, frames: calibrated.Frames) -> None:
        """As builder.ratings."""
        self.refined.learn(frames)

    def rate(self, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
        length = judgements["text"].str.len_chars().clip(1).log()
        return (self.refined.rate(judgements, vectors) + PER_E_FOLD * length).alias("lengthened")
