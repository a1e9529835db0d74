"""The truth's pairs as numbers: which rows of the completions are compared, and which of them should win."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.audit.truth import VOTES, Truth
from builder.compare import Rows

MATCHED = 0.25
"""Lengths that differ by less than this share of the longer one are alike."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of completions [pairs], as rows of the completions table, sorted by prompt.

    ``better`` is preferred to ``worse`` where ``compared``; where the truth ties them they stand in any order.
    ``prompt``: in [0, prompts). ``longer``: by how much the better one is longer, as a share of the longer of the two,
    in [-1, 1]. ``votes``: [pairs, 3] for better, worse and tie, -1 where they are not told. ``source``: a name each.
    ``same_text`` pairs were left out: the same text cannot be better than itself.
    """

    better: Rows
    worse: Rows
    compared: NDArray[np.bool_]
    prompt: Rows
    prompts: int
    longer: Numbers
    votes: NDArray[np.int64]
    source: pl.Series
    same_text: int

    @property
    def matched(self) -> NDArray[np.bool_]:
        """Pairs of about the same length."""
        return np.abs(self.longer) < MATCHED


def of_truth(truth: Truth, completions: pl.DataFrame, sources: pl.DataFrame) -> Pairs:
    """``completions``: completion_id, text. ``sources`` (prompt_id, source): for pairs whose truth names none."""
    known = completions.select(
        "completion_id",
        pl.col("text").str.strip_chars().hash().alias("hash"),
        pl.col("text").str.len_chars().cast(pl.Float64).alias("length"),
    ).with_row_index("row")
    pairs = truth.pairs
    for side in "ab":
        named = known.select(pl.all().name.suffix(f"_{side}"))
        pairs = pairs.join(named, left_on=side, right_on=f"completion_id_{side}")
    pairs = pairs.join(sources.rename({"source": "said"}), on="prompt_id", how="left")
    pairs = pairs.with_columns(pl.when(pl.col("source") != "").then("source").otherwise(pl.col("said").fill_null("")))
    apart = pairs.filter(pl.col("hash_a") != pl.col("hash_b")).sort("prompt_id", "a", "b")
    first = (apart["preference"] >= 0).to_numpy()
    row, length = ([apart[f"{name}_{side}"].to_numpy() for side in "ab"] for name in ("row", "length"))
    lengths = np.where(first, length[0], length[1]), np.where(first, length[1], length[0])
    votes = apart.select(pl.col(VOTES).fill_null(-1)).to_numpy().astype(np.int64).reshape(-1, 3)
    prompt = apart["prompt_id"].rle_id().to_numpy().astype(np.int64)
    return Pairs(
        better=np.where(first, row[0], row[1]).astype(np.int64),
        worse=np.where(first, row[1], row[0]).astype(np.int64),
        compared=(apart["preference"] != 0).to_numpy(),
        prompt=prompt,
        prompts=int(prompt[-1]) + 1 if len(prompt) else 0,
        longer=(lengths[0] - lengths[1]) / np.maximum(np.maximum(*lengths), 1.0),
        votes=np.where(first[:, None], votes, votes[:, [1, 0, 2]]),
        source=apart["source"],
        same_text=len(pairs) - len(apart),
    )
