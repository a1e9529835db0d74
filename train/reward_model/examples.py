"""What one step learns from: pairs with what a loss is told of each, or the lists of all completions of a prompt."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from builder.compare import DECIMALS
from builder.reward_model.tokens import Tokens

_NAMES = pl.List(pl.String)
SCHEMA = pl.Schema([("prompt_id", pl.String()), ("chosen", _NAMES), ("rejected", _NAMES), ("target", pl.Float64())])
"""``chosen`` and ``rejected``: completion ids, one each in a pair; ``target``: the pair's margin or grade."""


@dataclass(frozen=True)
class Split:
    """Examples of the prompts that are learned from, and of those that are held out."""

    train: pl.DataFrame
    held: pl.DataFrame


def split(examples: pl.DataFrame, held: frozenset[str]) -> Split:
    """By prompt."""
    out = pl.col("prompt_id").is_in(list(held))
    return Split(examples.filter(~out), examples.filter(out))


def of_pairs(pairs: pl.DataFrame, target: pl.Series) -> pl.DataFrame:
    """An example for each pair with a target."""
    sides = [pl.concat_list(f"{side}_id").alias(side) for side in ("chosen", "rejected")]
    made = pairs.select("prompt_id", *sides, target.cast(pl.Float64).alias("target")).cast(SCHEMA)
    return made.drop_nulls("target")


def of_lists(texts: pl.DataFrame, min_gap: float) -> pl.DataFrame:
    """An example for each prompt with a best completion among several; its ties share the best place.

    ``texts``: as train.preferences.rated gives them. Within ``min_gap`` of the best is a tie. Prompts with a single
    completion, or with all tied, are told and left out.
    """
    gap = (pl.col("value").max().over("prompt_id") - pl.col("value")).round(DECIMALS)
    name, best = pl.col("completion_id"), gap <= min_gap
    lists = texts.with_columns(best=best).group_by("prompt_id", maintain_order=True)
    made = lists.agg(chosen=name.filter(pl.col("best")), rejected=name.filter(~pl.col("best")), target=pl.lit(0.0))
    useful = made.filter(pl.col("rejected").list.len() > 0)
    if len(useful) < len(made):
        told = f"{len(made) - len(useful):,} of {len(made):,} prompts are left out"
        print(f"{told}: with one completion, or with all of them tied, there is no best", file=sys.stderr)
    return useful.select(list(SCHEMA)).cast(SCHEMA)


def tokenized(
    examples: pl.DataFrame, tokens: Mapping[str, Tokens], aspects: Mapping[str, list[float | None]] | None = None
) -> pl.DataFrame:
    """Columns chosen_ids, rejected_ids (lists of token ids, one for each completion), prompts, target, aspects.

    ``aspects``: the targets of each completion, if the model has a head for each aspect.
    """
    rows = []
    for chosen, rejected, target in examples.select("chosen", "rejected", "target").iter_rows():
        ids = [[tokens[name].ids for name in side] for side in (chosen, rejected)]
        names = [*chosen, *rejected]
        row = {"chosen_ids": ids[0], "rejected_ids": ids[1], "target": target}
        row["prompts"] = [tokens[name].prompt for name in names]
        rows.append(row if aspects is None else row | {"aspects": [aspects[name] for name in names]})
    tokens_of, numbers = pl.List(pl.List(pl.Int64)), pl.List(pl.List(pl.Float64))
    schema: dict[str, pl.DataType] = {"chosen_ids": tokens_of, "rejected_ids": tokens_of, "target": pl.Float64()}
    schema |= {"prompts": pl.List(pl.Int64)} | ({} if aspects is None else {"aspects": numbers})
    return pl.DataFrame(rows, schema=schema)
