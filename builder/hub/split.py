"""Which prompts are the split `test`: by the hash of their ids, none of them with a near duplicate in `train`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from builder import ids, judgements, rows, tables
from builder.hub import duplicates
from builder.params import Embed

TRAIN, TEST = "train", "test"
MOST = 2_000
"""Prompts of `test` at most: the error of a share of 2,000 is below 0.012, more would only be lost to training."""


@dataclass(frozen=True)
class Split:
    """``prompts``: prompt_id and ``known`` (whether its text is); ``test``: the ids of that split.

    ``moved``: prompts that the hash had put into `test` and that went to `train`, to their near duplicates.
    """

    prompts: pl.DataFrame
    test: pl.Series
    moved: int

    def is_test(self, prompt_ids: str = "prompt_id") -> pl.Expr:
        """For each row whether it belongs to `test`."""
        return pl.col(prompt_ids).is_in(self.test.implode())


def split(files: Sequence[Path], share: float, embedder: Embed) -> Split:
    """Split the prompts of all prompts tables ``files``; about ``share`` of them, in [0, 0.5], are `test`.

    A prompt's hash does not depend on what else there is, so that it is on one side in every arm and round. A prompt of
    `test` whose text is near one of `train` goes to `train`, with all that are near it. Raises WimError if FAISS is
    needed and not installed.
    """
    known = pl.concat(block.select("prompt_id", pl.col("text").is_not_null().alias("known")) for block in _texts(files))
    prompts = known.group_by("prompt_id").agg(pl.col("known").any()).sort("prompt_id")
    limit = min(share, MOST / max(1, len(prompts)))
    drawn = pl.Series([ids.uniform_of(0, name) < limit for name in prompts["prompt_id"]], dtype=pl.Boolean)
    candidates = prompts["prompt_id"].filter(drawn)
    with_text = prompts["prompt_id"].filter(drawn & prompts["known"])
    moved = duplicates.beside_others(partial(_known_texts, files), with_text, embedder)
    test = candidates.filter(~candidates.is_in(moved.implode()))
    if len(test) == len(prompts):  # a handful of prompts: nothing would be left to train on
        test = test.clear()
    return Split(prompts, test, len(moved))


def _texts(files: Sequence[Path]) -> Iterator[pl.DataFrame]:
    """prompt_id and text (null where it is not known) in blocks."""
    for file in files:
        for block in tables.read_blocks(file, "prompts", ["prompt_id", "messages"], "prompt_id", rows.BLOCK):
            yield block.select("prompt_id", judgements.said().alias("text"))


def _known_texts(files: Sequence[Path]) -> Iterator[pl.DataFrame]:
    return (block.drop_nulls("text") for block in _texts(files))
