"""How severe the words are: each sentence of the feedback on an axis from a flaw that hardly matters to a fatal one.

The axis is the mean embedding of a few sentences that say little is missing less that of a few that say the essential
is. The rating is the sum of the sentences' projections as far as they are below 0, so a sentence can only take away,
and what each takes is visible. A reading of directions in embedding space (Kozlowski et al., "The geometry of
culture", American Sociological Review, 2019).
"""

import re

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder.params import Params
from builder.ratings import Vectors, wim
from builder.statuses import WimStatus

SLIGHT = (
    "Only a minor detail is missing.",
    "The answer could be slightly more detailed.",
    "Nothing important is missing.",
    "A small improvement would be possible.",
)
FATAL = (
    "The essential part is missing.",
    "The answer fails to address the question.",
    "The response is wrong and misses the main point.",
    "Most of what was asked for is left out.",
)
_END = re.compile(r"(?<=[.!?])\s+|\n+")


class Rating:
    """At most 0, which is nothing missing, or nothing that weighs."""

    uses = frozenset({"text"})

    def __init__(self, params: Params) -> None:
        del params

    def texts(self, judgements: pl.DataFrame) -> list[pl.Series]:
        return [pl.Series("anchors", [*SLIGHT, *FATAL]), _sentences(judgements)[0]]

    def rate(self, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
        sentences, row = _sentences(judgements)
        taken = np.minimum(projections(vectors(sentences), vectors(pl.Series([*SLIGHT, *FATAL]))), 0)
        found = np.bincount(row, weights=taken, minlength=len(judgements))
        known = judgements["wim_status"].is_in([str(WimStatus.MISSING), str(WimStatus.NOTHING)])
        return pl.Series("severity", np.where(known, found, np.nan)).fill_nan(None)


def sentences(text: str) -> list[str]:
    """The sentences or lines of a text, without the dashes and stars of a list."""
    return [part for part in (piece.strip(" \t-*•") for piece in _END.split(text)) if part]


def projections(found: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of sentences [n, d] on the axis of the anchors: the cosine, centred at the middle between its two ends."""
    slight, fatal = (wim.directions(side).mean(axis=0) for side in np.split(anchors, [len(SLIGHT)]))
    axis = (slight - fatal) / np.linalg.norm(slight - fatal)
    projected: NDArray[np.float64] = wim.directions(found) @ axis - float((slight + fatal) @ axis) / 2
    return projected


def _sentences(judgements: pl.DataFrame) -> tuple[pl.Series, NDArray[np.int64]]:
    """All sentences of what is said to be missing, and the row that each stands in."""
    parts = [sentences(text) if text else [] for text in wim.missing_text(judgements)]
    row = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return pl.Series("sentences", [sentence for part in parts for sentence in part], pl.String), row
