"""What the siblings lack: the mean cosine of a completion with the texts that say what is missing in the *others*.

A completion is good where it is near to what other completions of its prompt were said to miss. Its own feedback is
not read, so it is a control as well: where this agrees as well as ``wim``, the cosine sees the topic, not the finding.
"""

import numpy as np
import polars as pl

from builder.params import Params
from builder.ratings import Vectors, wim


class Rating:
    """In [-1, 1]; null where no other completion of the prompt lacks anything in this judge's eyes."""

    uses = frozenset({"text", "completion"})
    together = True

    def __init__(self, params: Params) -> None:
        self.wim = wim.Rating(params)

    def texts(self, judgements: pl.DataFrame) -> list[pl.Series]:
        return self.wim.texts(judgements)

    def rate(self, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
        completion, text = (wim.directions(vectors(texts)) for texts in self.texts(judgements))
        said = np.isfinite(text[:, 0])
        group = judgements.select(pl.struct("prompt_id", "judge").rank("dense").cast(pl.Int64)).to_series().to_numpy()
        sums = np.zeros((int(group.max(initial=0)) + 1, text.shape[1]))
        np.add.at(sums, group[said], text[said])
        others = np.bincount(group[said], minlength=len(sums))[group] - said
        towards = sums[group] - np.where(said[:, None], text, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.einsum("ij,ij->i", completion, towards) / others
        return pl.Series("siblings", np.where(others > 0, mean, np.nan)).fill_nan(None)
