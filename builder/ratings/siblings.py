"""What the siblings lack: the mean cosine of a completion with the texts that say what is missing in the *others*.

A completion is good where it is near to what other completions of its prompt were said to miss. Its own feedback is
not read, so it is a control as well: where this agrees as well as ``wim``, the cosine sees the topic, not the finding.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder.params import Params
from builder.ratings import Vectors, wim
from builder.streams.vectors import BLOCK


class Rating:
    """In [-1, 1]; null where no other completion of the prompt lacks anything in this judge's eyes."""

    uses = frozenset({"text", "completion"})
    together = True

    def __init__(self, params: Params) -> None:
        self.wim = wim.Rating(params)

    def texts(self, judgements: pl.DataFrame) -> list[pl.Series]:
        return self.wim.texts(judgements)

    def rate(self, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
        group = judgements.select(pl.struct("prompt_id", "judge").rank("dense").cast(pl.Int64)).to_series().to_numpy()
        found = np.full(len(judgements), np.nan)
        for rows in _blocks(group):
            found[rows] = self._of_groups(judgements[rows], np.unique(group[rows], return_inverse=True)[1], vectors)
        return pl.Series("siblings", found).fill_nan(None)

    def _of_groups(self, judgements: pl.DataFrame, group: NDArray[np.int64], vectors: Vectors) -> NDArray[np.float64]:
        completion, text = (wim.directions(vectors(texts)) for texts in self.texts(judgements))
        said = np.isfinite(text[:, 0])
        sums = np.zeros((int(group.max(initial=0)) + 1, text.shape[1]))
        np.add.at(sums, group[said], text[said])
        others = np.bincount(group[said], minlength=len(sums))[group] - said
        towards = sums[group] - np.where(said[:, None], text, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.einsum("ij,ij->i", completion, towards) / others
        siblings: NDArray[np.float64] = np.where(others > 0, mean, np.nan)
        return siblings


def _blocks(group: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows in blocks of whole groups: the vectors of a whole run are too many to be held."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    cuts = np.unique(starts[np.searchsorted(starts, np.arange(BLOCK, len(group), BLOCK), "right") - 1])
    return np.split(order, cuts[cuts > 0])
