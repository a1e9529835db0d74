"""Which pairs are trained on, as which text, in which order."""

import sys
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from builder.errors import TableError
from builder.language import control
from builder.params import Train

COLUMNS = ["pair_id", "prompt_id", "prompt", "chosen", "rejected", "delta"]
TURNS = {"prompt": True, "chosen": False, "rejected": False}
"""Columns of messages, and whether a model's thoughts in them are escaped as well."""


def trainable(pairs: pl.DataFrame, folder: Path) -> tuple[pl.DataFrame, int]:
    """Pairs with the text of their prompt, and how many have none. Raises TableError if none is left."""
    prompted = pairs.filter(pl.col("prompt").list.len() > 0)
    missing = len(pairs) - len(prompted)
    told = f"{missing:,} of {len(pairs):,} pairs hold no prompt text (only its id), so no model can be trained on them"
    if prompted.is_empty():
        raise TableError(f"{folder}: {told if missing else 'there is no pair to train on; see `wim stats`'}")
    if missing:
        print(f"left out: {told}", file=sys.stderr)
    return prompted, missing


def without_control_strings(pairs: pl.DataFrame, columns: Mapping[str, bool] = TURNS) -> tuple[pl.DataFrame, int]:
    """Rows whose text in ``columns`` cannot end a turn of the chat template, and how many were escaped for that.

    TRL tokenizes a conversation as one text, so a control string in it would become a control token. Those
    that a model writes itself around its thoughts (``<think>``) are counted, and stay what is learned.
    """
    count = control.count(pairs, list(columns))
    if not count:
        return pairs, 0
    what = "pairs" if columns is TURNS else "rows"
    print(f"{count:,} of {len(pairs):,} {what} hold control strings of chat templates: escaped", file=sys.stderr)
    turns = {
        name: [
            [turn | {"content": control.escape(turn["content"], thoughts)[0]} for turn in turns]
            for turns in pairs[name]
        ]
        for name, thoughts in columns.items()
    }
    return pairs.with_columns(pl.Series(name, column, pairs.schema[name]) for name, column in turns.items()), count


def ordered(pairs: pl.DataFrame, settings: Train) -> pl.DataFrame:
    """By delta, if train.order says so; what is equal stays as it was."""
    if settings.order == "random":  # TRL's sampler shuffles
        return pairs
    return pairs.sort("delta", descending=settings.order == "delta_desc", maintain_order=True)
