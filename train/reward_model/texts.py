"""The completions that a reward model learns from, and their tokens: counted, and nothing dropped in silence."""

import sys
from dataclasses import dataclass
from typing import Any

import polars as pl

from builder.params import Train
from builder.reward_model.tokens import Tokens, encode

MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
_TEXT = pl.String()
SCHEMA = pl.Schema([("completion_id", _TEXT), ("prompt_id", _TEXT), ("messages", MESSAGES), ("text", _TEXT)])


@dataclass(frozen=True)
class Seen:
    """Completions that are left out, their prompt being longer than train.max_prompt (``long_prompts``), or the whole
    than what the model reads (``over_context``); ``cut``: of which the first train.max_completion tokens are read.
    """

    long_prompts: int
    over_context: int
    cut: int


def of_pairs(pairs: pl.DataFrame) -> pl.DataFrame:
    """SCHEMA of both sides of all pairs, each completion once."""
    rows = [
        (name, prompt_id, [*prompt, *turns[:-1]], turns[-1]["content"])
        for side in ("chosen", "rejected")
        for name, prompt_id, prompt, turns in pairs.select(f"{side}_id", "prompt_id", "prompt", side).iter_rows()
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").unique("completion_id", keep="first", maintain_order=True)


def encoded(texts: pl.DataFrame, tokenizer: Any, context: int, settings: Train) -> tuple[dict[str, Tokens], Seen]:
    """Tokens by completion_id of those that can be read, and what was seen. ``context``: what the model reads."""
    found: dict[str, Tokens] = {}
    longest, long_prompts, over_context = settings.max_prompt or sys.maxsize, 0, 0
    for name, messages, text in texts.select("completion_id", "messages", "text").iter_rows():
        tokens = encode(tokenizer, messages, text, settings.max_completion)
        if tokens.prompt > longest:
            long_prompts += 1
        elif len(tokens.ids) > context:
            over_context += 1
        else:
            found[name] = tokens
    seen = Seen(long_prompts, over_context, sum(tokens.cut for tokens in found.values()))
    _tell(seen, len(texts), context, settings)
    return found, seen


def _tell(seen: Seen, texts: int, context: int, settings: Train) -> None:
    """One line on stderr for whatever is not 0."""
    most = f"{settings.max_completion:,}"
    lines = (
        (seen.long_prompts, f"completions are left out: prompts longer than {settings.max_prompt} tokens"),
        (seen.over_context, f"completions are left out: longer than the {context:,} tokens that the model reads"),
        (seen.cut, f"completions are longer than train.max_completion ({most} tokens): what comes after is not read"),
    )
    for count, what in lines:
        if count:
            print(f"{count:,} of {texts:,} {what}", file=sys.stderr)
