"""The paper's rating: the cosine of completion and missing text; 1 where nothing is missing (eq. 4)."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder.judgements import is_empty
from builder.params import Params
from builder.ratings import Vectors
from builder.statuses import WimStatus


class Rating:
    """cos(E(completion), E(feedback)) in [-1, 1], in float64; exactly 1.0 for the status ``nothing``."""

    uses = frozenset({"text", "completion"})

    def __init__(self, params: Params) -> None:
        del params

    def texts(self, judgements: pl.DataFrame) -> list[pl.Series]:
        return [completion(judgements), missing_text(judgements)]

    def rate(self, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
        cosine = cosines(vectors(completion(judgements)), vectors(missing_text(judgements)))
        return judgements.select(
            pl.when(pl.col("wim_status") == str(WimStatus.NOTHING))
            .then(1.0)
            .otherwise(pl.Series(cosine, dtype=pl.Float64).fill_nan(None))
            .alias("wim")
        ).to_series()


def missing_text(judgements: pl.DataFrame) -> pl.Series:
    """The texts that say what is missing; null for every other judgement."""
    return judgements.select(
        pl.when(pl.col("wim_status") == str(WimStatus.MISSING)).then("feedback").alias("feedback")
    ).to_series()


def missingness(wim: pl.Series, feedback: NDArray[np.float32]) -> pl.Series:
    """|S2| sqrt(1 - cos^2): the part of the feedback's vector that is orthogonal to the completion's (eq. 5).

    0.0 where ``wim`` is 1 because nothing is missing; ``feedback`` holds the vectors S2, NaN rows there.
    """
    squares = 1.0 - wim.to_numpy().astype(np.float64) ** 2
    lengths = np.nan_to_num(_lengths(feedback))
    return pl.Series("missingness", lengths * np.sqrt(np.maximum(squares, 0.0))).fill_nan(None)


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """Row by row, float32 [n, d] each, in float64; NaN where a vector is absent or has no direction."""
    dots = np.einsum("ij,ij->i", left, right, dtype=np.float64)
    lengths = _lengths(left) * _lengths(right)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.isfinite(lengths) & (lengths > 0), np.clip(dots / lengths, -1.0, 1.0), np.nan)


def directions(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Vectors [n, d] of length 1, in float64; NaN where one is absent or has no direction."""
    lengths = _lengths(vectors)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((np.isfinite(lengths) & (lengths > 0))[:, None], vectors / lengths[:, None], np.nan)


def _lengths(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return np.sqrt(squares)


def completion(judgements: pl.DataFrame) -> pl.Series:
    """The texts of the completions; null for one of white space only."""
    return judgements.select(pl.when(~is_empty(pl.col("text"))).then("text").alias("text")).to_series()
