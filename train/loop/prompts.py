"""The prompts that a policy learns from while it answers them: checked, counted, and nothing dropped in silence."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from builder import tables
from builder.errors import TableError
from builder.language import chat, control
from builder.params import Params

COLUMNS = ["prompt_id", "messages", "reference"]


@dataclass(frozen=True)
class Seen:
    """Prompts left out because their text is not known (``unprompted``) or because they are longer than
    train.max_prompt or leave no room for an answer (``long_prompts``); ``escaped``: with control strings of templates.
    """

    unprompted: int
    long_prompts: int
    escaped: int


def trainable(folder: Path, tokenizer: Any, model: Any, params: Params, room: int) -> tuple[pl.DataFrame, Seen]:
    """Columns prompt (messages), prompt_id, reference of the prompts to train on, and what was seen.

    ``room``: how many tokens an answer may have. Raises TableError if no prompt is left.
    """
    prompts = tables.read(tables.find(folder, "prompts"), "prompts", COLUMNS).rename({"messages": "prompt"})
    known = prompts.filter(pl.col("prompt").list.len() > 0)
    context = (getattr(model.config, "max_position_embeddings", None) or sys.maxsize) - room
    longest = min(context, params.train.max_prompt or sys.maxsize)
    lengths = pl.Series([len(chat.encode(tokenizer, turns)) for turns in known["prompt"]], dtype=pl.Int64)
    short, escaped = _escaped(known.filter(lengths <= longest))
    seen = Seen(len(prompts) - len(known), len(known) - len(short), escaped)
    _tell(seen, len(prompts), longest)
    if short.is_empty():
        raise TableError(f"{folder}: no prompt is left to train on")
    return short.select("prompt", "prompt_id", "reference"), seen


def _escaped(prompts: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """TRL tokenizes a conversation as one text, so a control string in it would become a control token."""
    turns = [
        [turn | {"content": control.escape(turn["content"], True)[0]} for turn in turns] for turns in prompts["prompt"]
    ]
    changed = sum(new != old for new, old in zip(turns, prompts["prompt"].to_list(), strict=True))
    return prompts.with_columns(pl.Series("prompt", turns, prompts.schema["prompt"])), changed


def _tell(seen: Seen, prompts: int, longest: int) -> None:
    """One line on stderr for whatever is not 0."""
    lines = (
        (seen.unprompted, "prompts are left out: their text is not known, only their id"),
        (seen.long_prompts, f"prompts are left out: longer than {longest:,} tokens"),
        (seen.escaped, "prompts hold control strings of chat templates: escaped"),
    )
    for count, what in lines:
        if count:
            print(f"{count:,} of {prompts:,} {what}", file=sys.stderr)
