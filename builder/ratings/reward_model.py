"""A reward model's number: the model in the folder ``rate.reward_model``, as `wim train reward` writes it.

What it has learned came from somebody's ratings, so that its agreement with these is no second opinion.
"""

from pathlib import Path

import numpy as np
import polars as pl

from builder.errors import ParamsError
from builder.judgements import is_empty
from builder.params import Params
from builder.ratings import Vectors
from builder.reward_model import scores
from builder.statuses import Reason


class Rating:
    """Above or below 0: of use between completions of a prompt only. Null where it is too long."""

    uses = frozenset({"prompt", "completion", "engine"})
    together = True
    null_reason = Reason.TOO_LONG

    def __init__(self, params: Params) -> None:
        self.params = params

    def texts(self, judgements: pl.DataFrame) -> list[pl.Series]:
        del judgements
        return []

    def rate(self, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
        """Raises ParamsError without a folder, and what ``scores.rewards`` raises."""
        del vectors
        able = judgements.filter(pl.col("prompt").is_not_null() & ~is_empty(pl.col("text")))
        able = able.unique(["prompt_id", "text"], keep="first", maintain_order=True)
        completions = able.select("messages", "text").iter_rows()
        found = scores.rewards(folder(self.params), completions, len(able), self.params)
        rated = able.select("prompt_id", "text", reward_model=pl.Series(np.asarray(found)).fill_nan(None))
        joined = judgements.join(rated, on=["prompt_id", "text"], how="left", maintain_order="left")
        return joined["reward_model"]

    def about(self) -> dict[str, object]:
        """Which model was asked, for the table's metadata."""
        return scores.identity(folder(self.params), self.params)


def folder(params: Params) -> Path:
    """Raises ParamsError where the parameters name none."""
    if params.rate.reward_model is None:
        raise ParamsError("rate.reward_model: name the folder of a reward model; `wim train reward RUN` writes one")
    return Path(params.rate.reward_model)
