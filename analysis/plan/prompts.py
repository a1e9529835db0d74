"""How many prompts there are, and how long they are: by the model's own tokenizer, over a sample."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from analysis.plan import model
from analysis.plan.given import Given
from builder import tables
from builder.errors import EngineError, InputError, TableError
from builder.language import chat, models
from builder.language.chat import Message
from builder.params import Params
from builder.prompts import collect
from builder.prompts import read as read_source
from builder.records import Rejected
from builder.tables import first_line

SAMPLE = 256
"""Prompts whose tokens are counted."""
CHARACTERS = 4.0
"""Of English in a token, where there is no tokenizer at hand."""


@dataclass(frozen=True)
class Prompts:
    """``count`` prompts with ``mean`` tokens, ``longest`` at most. ``table``: columns prompt_id, messages, shuffled;
    ``sampled``: whether the lengths are those of its first ``SAMPLE``, and not as given.
    """

    count: int
    mean: float
    longest: int
    table: pl.DataFrame
    sampled: bool
    told: tuple[str, ...]


class Counter:
    """Tokens of a conversation under a model's chat template; by its characters where the tokenizer cannot be read."""

    def __init__(self, name: str | None, revision: str | None, trusted: bool = False) -> None:
        self.name, self.revision, self.trusted = name, revision, trusted
        self.tokenizer: Any = None
        self.told = ""

    def count(self, messages: list[Message]) -> int:
        self._load()
        if self.tokenizer is None:
            return round(sum(len(message["content"]) for message in messages) / CHARACTERS)
        return len(chat.encode(self.tokenizer, messages))

    def _load(self) -> None:
        """At the first count: nothing else needs the tokenizer."""
        if self.told:
            return
        why = "there is no tokenizer of the model here"
        if self.name is not None:
            try:
                model.config(self.name, self.revision)  # whose failure is known at once, where it failed before
                self.tokenizer = models.tokenizer(self.name, self.revision, self.trusted)
                self.told = f"tokens by the tokenizer of {models.label(self.name)}"
                return
            except EngineError as error:
                why = first_line(error)
        self.told = f"a token is {CHARACTERS:.0f} characters: {why}"


def found(folder: Path | None, params: Params, given: Given) -> tuple[pl.DataFrame, str]:
    """The prompts of the run, or else of prompts.source, shuffled, and where they are from.

    They are not read where the command line says all that is to be known of them and there is no trial. Raises
    InputError where there is none.
    """
    if given.prompts and given.prompt_tokens and not given.trial:
        return _empty(), "the command line"
    table = _table(folder)
    if table is not None:
        frame = tables.read(table, "prompts", ["prompt_id", "messages"])
        tables.check_prompted(frame, "planned for")
        origin = str(table)
    else:
        rejected = Rejected(further="not told")
        frame, *_ = collect(read_source(params.prompts.source), params.prompts.limit, rejected)
        frame, origin = frame.select("prompt_id", "messages"), params.prompts.source
    if frame.is_empty():
        raise InputError(f"{origin}: holds no prompt to plan for; say --prompts N --prompt-tokens T")
    return frame.sample(fraction=1.0, shuffle=True, seed=params.seed), origin


def measured(frame: pl.DataFrame, origin: str, given: Given, counter: Counter) -> Prompts:
    """How many, and how long; what the command line says of them goes before."""
    count = given.prompts or len(frame)
    told = [f"{count:,} prompts: " + ("as given" if given.prompts else f"those of {origin}")]
    if given.prompt_tokens:
        told.append(f"{given.prompt_tokens:,.0f} tokens in every prompt: as given")
        return Prompts(count, given.prompt_tokens, math.ceil(given.prompt_tokens), frame, False, tuple(told))
    lengths = [counter.count(messages) for messages in frame["messages"].head(SAMPLE)]
    mean, longest = sum(lengths) / len(lengths), max(lengths)
    told.append(
        f"{mean:,.0f} tokens in a prompt, the longest {longest:,}: {len(lengths):,} of {origin}; {counter.told}"
    )
    return Prompts(count, mean, longest, frame, True, tuple(told))


def _table(folder: Path | None) -> Path | None:
    if folder is None:
        return None
    try:
        return tables.find(folder, "prompts")
    except TableError:
        return None


def _empty() -> pl.DataFrame:
    return pl.DataFrame(schema=pl.Schema(tables.SCHEMAS["prompts"])).select("prompt_id", "messages")
