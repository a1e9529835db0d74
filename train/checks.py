"""What is seen of the tokenized pairs before training starts: counted, told, and nothing dropped in silence."""

import sys
from dataclasses import dataclass
from typing import Any

import polars as pl

from builder.errors import TableError
from builder.params import Train

SIDES = ("chosen_ids", "rejected_ids")


@dataclass(frozen=True)
class Seen:
    """``long_prompts``: pairs left out, their prompt being longer than the limit; ``cut``: completions of which only
    the first ``train.max_completion`` tokens enter the loss; ``unended``: completions after which generation would
    not stop; ``mismatched``: pairs whose prompt alone does not read as the beginning of prompt and completion.
    """

    long_prompts: int
    cut: int
    unended: int
    mismatched: int


def checked(pairs: pl.DataFrame, tokenizer: Any, model: Any, settings: Train) -> tuple[pl.DataFrame, Seen]:
    """The pairs to train on, with completions cut, and what was seen. Raises TableError if none is left.

    ``pairs`` hold messages in ``prompt`` and TRL's token ids in prompt_ids, chosen_ids, rejected_ids.
    """
    limit = prompt_limit(model, settings)
    fitting = pairs.filter(pl.col("prompt_ids").list.len() <= limit)
    seen = Seen(
        len(pairs) - len(fitting),
        sum(int((fitting[side].list.len() > settings.max_completion).sum()) for side in SIDES),
        _unended(fitting, tokenizer, model),
        _mismatched(fitting, tokenizer),
    )
    _tell(seen, len(pairs), 2 * len(fitting), limit, settings)
    if fitting.is_empty():
        raise TableError(f"every prompt is longer than {limit:,} tokens: nothing to train on (train.max_prompt)")
    return fitting.with_columns(pl.col(side).list.head(settings.max_completion) for side in SIDES), seen


def prompt_limit(model: Any, settings: Train) -> int:
    """In tokens: train.max_prompt, or what the model's context leaves beside the longest completion."""
    context = getattr(model.config, "max_position_embeddings", None)
    room = max(0, context - settings.max_completion) if context else sys.maxsize
    return min(room, settings.max_prompt or room)


def _unended(pairs: pl.DataFrame, tokenizer: Any, model: Any) -> int:
    """Completions that do not end, spaces aside, with a token at which generation stops."""
    stops = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(stops if isinstance(stops, list) else [stops])}
    spaces = [
        i
        for i, text in enumerate(tokenizer.batch_decode([[i] for i in range(len(tokenizer))]))
        if not text.strip() and i not in ends
    ]
    last = [pairs[side].list.eval(pl.element().filter(~pl.element().is_in(spaces))).list.last() for side in SIDES]
    return sum(int((~side.is_in(list(ends))).fill_null(True).sum()) for side in last)


def _mismatched(pairs: pl.DataFrame, tokenizer: Any) -> int:
    """TRL keeps of a prompt's ids only those with which prompt and completion begin as well."""
    if pairs.is_empty():
        return 0
    alone = tokenizer.apply_chat_template(pairs["prompt"].to_list(), add_generation_prompt=True, return_dict=True)
    return int((pairs["prompt_ids"].list.len() < pl.Series([len(ids) for ids in alone["input_ids"]])).sum())


def _tell(seen: Seen, pairs: int, completions: int, limit: int, settings: Train) -> None:
    lines = {
        f"left out: {seen.long_prompts:,} of {pairs:,} pairs, whose prompts are longer than {limit:,} tokens": (
            seen.long_prompts
        ),
        f"{seen.cut:,} of {completions:,} completions are longer than train.max_completion "
        f"({settings.max_completion:,} tokens): what comes after is not learned from": seen.cut,
        f"{seen.unended:,} of {completions:,} completions do not end with a token that ends a turn: "
        "the policy is not taught to stop": seen.unended,
        f"{seen.mismatched:,} of {pairs:,} prompts are not the beginning of prompt and completion under the chat "
        "template: training sees another context than generation": seen.mismatched,
    }
    for line, count in lines.items():
        if count:
            print(line, file=sys.stderr)
