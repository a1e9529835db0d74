"""What is seen of the tokenized pairs before training starts: counted, told, and nothing dropped in silence."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from builder.errors import TableError
from builder.params import Train

SIDES = ("chosen_ids", "rejected_ids")


@dataclass(frozen=True)
class Seen:
    """``long_prompts`` and ``over_context``: pairs left out, the prompt being longer than train.max_prompt, or prompt
    and completion than what the model reads. Of the rest, ``cut``: completions of which only the first
    train.max_completion tokens enter the loss; ``unended``: completions after which generation would not stop;
    ``mismatched``: pairs whose prompt alone does not read as the beginning of prompt and completion.
    """

    long_prompts: int
    over_context: int
    cut: int
    unended: int
    mismatched: int


def checked(
    pairs: pl.DataFrame, tokenizer: Any, model: Any, settings: Train, sides: Sequence[str] = SIDES
) -> tuple[pl.DataFrame, Seen]:
    """The pairs to train on, with completions cut, and what was seen. Raises TableError if none is left.

    ``pairs`` hold messages in ``prompt`` and TRL's token ids in prompt_ids, chosen_ids, rejected_ids; of rows with one
    completion each, ``sides`` names the column of its ids.
    """
    context = getattr(model.config, "max_position_embeddings", None) or sys.maxsize
    cut = [pl.col(side).list.head(settings.max_completion) for side in sides]
    prompt, longest = pl.col("prompt_ids").list.len(), pl.max_horizontal(side.list.len() for side in cut)
    short = pairs.filter(prompt <= (settings.max_prompt or sys.maxsize))
    left = short.filter(prompt + longest <= context)
    seen = Seen(
        long_prompts=len(pairs) - len(short),
        over_context=len(short) - len(left),
        cut=sum(int((left[side].list.len() > settings.max_completion).sum()) for side in sides),
        unended=_unended(left, tokenizer, model, sides),
        mismatched=_mismatched(left, tokenizer),
    )
    rows = "pairs" if len(sides) > 1 else "rows"
    _tell(seen, len(pairs), len(left), len(sides), context, settings, rows)
    if left.is_empty():
        told = "all are too long (train.max_prompt, train.max_completion)"
        raise TableError(f"no {rows[:-1]} is left to train on: {told}")
    return left.with_columns(cut), seen


def _unended(pairs: pl.DataFrame, tokenizer: Any, model: Any, sides: Sequence[str]) -> int:
    """Completions that do not end, spaces aside, with a token at which generation stops."""
    stops = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(stops if isinstance(stops, list) else [stops])} - {None}
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    spaces = [token for token, text in enumerate(texts) if not text.strip() and token not in ends]
    token = pl.element()
    last = pairs.select(pl.col(side).list.eval(token.filter(~token.is_in(spaces))).list.last() for side in sides)
    return sum(int((~side.is_in(list(ends))).fill_null(True).sum()) for side in last.iter_columns())


def _mismatched(pairs: pl.DataFrame, tokenizer: Any) -> int:
    """TRL keeps of a prompt's ids only those with which prompt and completion begin as well."""
    if pairs.is_empty():
        return 0
    alone = tokenizer.apply_chat_template(pairs["prompt"].to_list(), add_generation_prompt=True, return_dict=True)
    return int((pairs["prompt_ids"].list.len() < pl.Series([len(ids) for ids in alone["input_ids"]])).sum())


def _tell(seen: Seen, pairs: int, left: int, sides: int, context: int, settings: Train, rows: str) -> None:
    """One line on stderr for whatever is not 0."""
    lines = (
        (seen.long_prompts, pairs, f"{rows} are left out: prompts longer than {settings.max_prompt} tokens"),
        (seen.over_context, pairs, f"{rows} are left out: longer than the {context:,} tokens that the model reads"),
        (
            seen.cut,
            sides * left,
            f"completions are longer than train.max_completion ({settings.max_completion:,} tokens): "
            "what comes after is not learned from",
        ),
        (
            seen.unended,
            sides * left,
            "completions do not end with a token that ends a turn: the policy does not learn to stop",
        ),
        (
            seen.mismatched,
            left,
            "prompts are not the beginning of prompt and completion under the chat template: "
            "training sees another context than generation does",
        ),
    )
    for count, of, what in lines:
        if count:
            print(f"{count:,} of {of:,} {what}", file=sys.stderr)
