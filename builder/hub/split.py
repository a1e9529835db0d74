"""Which prompts are the split `test`: by the hash of their ids, none of them with a near duplicate in `train`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from builder import ids, judgements, rows, tables
from builder.hub import duplicates
from builder.params import Embed
from builder.streams import spans

TRAIN, TEST = "train", "test"
MOST = 2_000
"""Prompts of `test` at most: the error of a share of 2,000 is below 0.012, more would only be lost to training."""


@dataclass(frozen=True)
class Split:
    """``prompts``: prompt_id (``hash``) and ``known`` (whether its text is); ``test``: the ids of that split.

    ``moved``: prompts that the hash had put into `test` and that went to `train`, to their near duplicates.
    """

    prompts: pl.DataFrame
    test: pl.Series
    moved: int

    def is_test(self, hashed: pl.Expr | None = None) -> pl.Expr:
        """For each row whether it belongs to `test`, by its prompt_id or by a hash of this."""
        own = pl.col("prompt_id").hash() if hashed is None else hashed
        return own.is_in(self.test.hash().implode())


def split(files: Sequence[Path], share: float, embedder: Embed) -> Split:
    """Split the prompts of all prompts tables ``files``; about ``share`` of them, in [0, 0.5], are `test`.

    A prompt's hash does not depend on what else there is, so that it is on one side in every arm and round. A prompt of
    `test` whose text is near one of `train` goes to `train`, with all that are near it. Raises WimError if FAISS is
    needed and not installed.
    """
    prompts = _prompts(files)
    limit = min(share, MOST / max(1, len(prompts)))
    drawn = prompts.filter(pl.col("draw") < limit)
    named = _named(files, drawn["prompt_id"])
    moved = duplicates.beside_others(partial(_known_texts, files), named.filter("known")["prompt_id"], embedder)
    test = named["prompt_id"].filter(~named["prompt_id"].is_in(moved.implode()))
    if len(test) == len(prompts):  # a handful of prompts: nothing would be left to train on
        test = test.clear()
    return Split(prompts.drop("draw"), test, len(moved))


def _prompts(files: Sequence[Path]) -> pl.DataFrame:
    """Of each prompt of all tables prompt_id (``hash``), ``known``, and ``draw`` in [0, 1), by which it is drawn."""
    found = [pl.DataFrame(schema={"prompt_id": pl.UInt64, "known": pl.Boolean, "draw": pl.Float64})]
    for block in _texts(files):
        draw = pl.Series("draw", [ids.uniform_of(0, name) for name in block["prompt_id"]], pl.Float64)
        found.append(block.select(pl.col("prompt_id").hash(), pl.col("text").is_not_null().alias("known"), draw))
    return pl.concat(found).group_by("prompt_id").agg(pl.col("known").any(), pl.col("draw").first())


def _named(files: Sequence[Path], few: pl.Series) -> pl.DataFrame:
    """prompt_id and ``known`` of a few prompts, given by hashes, sorted."""
    nothing = pl.DataFrame(schema={"prompt_id": pl.String, "known": pl.Boolean})
    blocks = (block.filter(pl.col("prompt_id").hash().is_in(few.implode())) for block in _texts(files))
    told = (tables.detached(b.select("prompt_id", pl.col("text").is_not_null().alias("known"))) for b in blocks)
    return pl.concat([nothing, *told]).group_by("prompt_id").agg(pl.col("known").any()).sort("prompt_id")


def _texts(files: Sequence[Path]) -> Iterator[pl.DataFrame]:
    """prompt_id and text (null where it is not known) in blocks."""
    for file in files:
        for block in spans.blocks(file, "prompts", ["prompt_id", "messages"], "prompt_id", rows.BLOCK):
            yield block.select("prompt_id", judgements.said().alias("text"))


def _known_texts(files: Sequence[Path]) -> Iterator[pl.DataFrame]:
    return (block.drop_nulls("text") for block in _texts(files))
