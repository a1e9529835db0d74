"""One side of a comparison: a run, as its own tables or as a published dataset hold it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from builder.params import Pair

JUDGED = ("completion_id", "prompt_id", "judge", "rating", "R", "wim", "reward", "reason")
"""What is read of the ratings table, beside ``words`` and the columns of ``rate.also``."""
PAIRS = ("pair_id", "prompt_id", "chosen_id", "rejected_id", "delta")


@dataclass(frozen=True)
class Rule:
    """How pairs were taken. ``seed`` is that of ``best_random``."""

    pair: Pair
    seed: int


@dataclass(frozen=True)
class Side:
    """Texts are hashes, equal for equal texts, so that the rows of a million completions fit into memory.

    ``prompts``: the ids of all. ``completions``: completion_id, prompt_id, text, policy. ``judgements``: JUDGED,
    ``words`` (what the judge's text is and says) and further ratings by name. ``pairs``: PAIRS. ``judge``: whom the
    pairs hear (``pair.judge``). ``method`` and ``rating``: the rating and its parameters; None where the data
    does not tell. ``rule``: told or, of a dataset, inferred. ``settings``: all that the tables say of their making, by
    dotted name.
    ``passages`` gives prompt, completion, judge and feedback of a few completions, by their ids.
    """

    name: str
    run: str
    prompts: pl.Series
    completions: pl.DataFrame
    judgements: pl.DataFrame
    pairs: pl.DataFrame
    judge: str
    method: str | None
    rating: dict[str, Any] | None
    rule: Rule | None
    settings: dict[str, Any]
    stats: dict[str, Any] | None
    notes: tuple[str, ...]
    passages: Callable[[Sequence[str]], pl.DataFrame]


def words(status: pl.Expr, feedback: pl.Expr) -> pl.Expr:
    """A hash of what a judge's text is and says."""
    return pl.concat_str(status.fill_null(""), pl.lit("\n"), feedback.fill_null("")).hash().alias("words")
