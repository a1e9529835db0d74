"""The ranked completions of a prompt, for the losses of listwise.py: tables -> lists, and lists -> batches.

A list of k completions is (k + 1) // 2 pairs, its best with its worst, its second with its last but one; where k is
odd the middle one stands with the worst once more, which then does not count (``single``).
"""

import sys
from pathlib import Path
from typing import Any

import polars as pl

from builder.compare import DECIMALS
from builder.errors import TableError
from builder.params import Params
from train.preferences import rated

TABLES = rated.TABLES
COLUMNS = ("list", "single", "score_chosen", "score_rejected")
"""Of a pair beyond those of any: the number of its list, whether the rejected one does not count, both rewards."""


def read(folder: Path, params: Params) -> tuple[pl.DataFrame, int]:
    """All lists of a run as pairs, with the columns of ``pairs.COLUMNS`` and COLUMNS; how many prompts have no text.

    Prompts with one comparable completion, or with all of them tied (pair.min_gap), are told and left out. Raises
    TableError if none is left.
    """
    every, unprompted = rated.read(folder, params)
    every = every.sort("prompt_id", "value", "completion_id", descending=[False, True, False])
    gap = (pl.col("value").max() - pl.col("value").min()).over("prompt_id").round(DECIMALS)
    ranked = every.filter(gap > params.pair.min_gap)
    prompts = every["prompt_id"].n_unique()
    left_out = prompts - ranked["prompt_id"].n_unique()
    if ranked.is_empty():
        raise TableError(f"{folder}: no prompt has two completions of different rewards; see `wim stats`")
    if left_out:
        told = "with one completion, or with all of them tied, there is no order"
        print(f"{left_out:,} of {prompts:,} prompts are left out: {told}", file=sys.stderr)
    return _paired(ranked), unprompted


def _paired(ranked: pl.DataFrame) -> pl.DataFrame:
    """``ranked``: prompt_id, messages, text, value, completion_id, the best of each prompt first."""
    size = pl.len().over("prompt_id")
    place = pl.int_range(pl.len()).over("prompt_id")
    turn = pl.concat_list(pl.struct(role=pl.lit("assistant"), content="text"))
    numbered = ranked.select(
        "prompt_id", "completion_id", prompt="messages", turn=turn, value="value", size=size, place=place,
        list=pl.col("prompt_id").rle_id(),
    )  # fmt: skip
    middle = pl.col("place") * 2 + 1 == pl.col("size")
    partner = pl.when(middle).then(pl.col("size") - 1).otherwise(pl.col("size") - 1 - pl.col("place"))
    upper = numbered.filter(pl.col("place") * 2 < pl.col("size")).with_columns(partner=partner, single=middle)
    worse = numbered.select(
        "list", partner="place", rejected="turn", score_rejected="value", rejected_id="completion_id"
    )
    found = upper.join(worse, on=["list", "partner"], how="left", maintain_order="left")
    return found.select(
        "prompt_id", "prompt", chosen="turn", rejected="rejected", delta=pl.col("value") - pl.col("score_rejected"),
        pair_id=pl.format("{} {}", "completion_id", "rejected_id"), list="list", single="single",
        score_chosen="value", score_rejected="score_rejected",
    )  # fmt: skip


def grouped(tokenized: pl.DataFrame) -> pl.DataFrame:
    """One row for each list, with its pairs in ``rows``: what TRL draws is a list."""
    return (
        tokenized.select("list", rows=pl.struct(pl.all()))
        .group_by("list", maintain_order=True)
        .agg("rows")
        .drop("list")
    )


def flat(examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pairs of the lists of a batch, with the number of their list in it; pairs that are in none as they are."""
    if "rows" not in examples[0]:
        return examples
    return [row | {"list": number} for number, example in enumerate(examples) for row in example["rows"]]
