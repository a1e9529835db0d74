"""Rewards of many completions by a stored reward model, in batches of similar length. Rows are kept under .wim/rate."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builder import rows
from builder.ids import canonical_json, digest
from builder.language import models
from builder.language.chat import Message
from builder.params import Params
from builder.reward_model import stored
from builder.reward_model.tokens import encode

VERSION = 1
"""Raised when this code makes another number of the same row and settings: rows from before then count no more."""
WINDOW = 512
"""So many completions are sorted by length at a time, and kept as one part."""
DECIMALS = 6
"""In float64 another batch moves a reward by some 1e-13, so that it is the same number whatever else is worked out."""

Completion = tuple[Sequence[Message], str]
"""The prompt's messages and the completion's text."""


def rewards(folder: Path, completions: Iterable[Completion], total: int, params: Params) -> NDArray[np.float64]:
    """[``total`` completions]: higher is better, NaN where prompt and completion are too long for the model.

    The model is loaded if a row is missing, in the precision of engine.transformers, whatever engine writes texts.
    Raises TableError or EngineError where ``folder`` holds no model that can be loaded.
    """
    keyed = ((digest(canonical_json([list(messages), text])), (messages, text)) for messages, text in completions)
    settings = identity(folder, params) | {"version": VERSION}
    done = rows.compute("rate", settings, keyed, Scorer(folder, params).parts, "rate", total)
    return np.array([row for block in done.blocks() for row in block["reward"].to_pylist()], np.float64)


def identity(folder: Path, params: Params) -> dict[str, Any]:
    """What tells two models and their precision apart."""
    settings = {k: v for k, v in vars(params.engine.transformers).items() if k != "batch_size"}
    return {"engine": "transformers", "settings": settings, "policy": stored.identity(folder)}


class Scorer:
    """A stored reward model, loaded when it is first asked."""

    def __init__(self, folder: Path, params: Params) -> None:
        stored.read(folder)  # that it is none is told before anything is worked out
        self.folder, self.settings = folder, params.engine.transformers
        self.loaded: tuple[Any, Any, stored.Stored] | None = None

    def parts(self, completions: Iterator[Completion], done: rows.Done) -> Iterator[rows.Batch]:
        """Finished rows, window by window."""
        first = 0
        while window := list(itertools.islice(completions, WINDOW)):
            found = self(window)
            done(len(window), 0)
            yield range(first, first + len(window)), pa.table({"reward": pa.array(found, pa.float64())})
            first += len(window)

    def __call__(self, completions: Sequence[Completion]) -> list[float | None]:
        """A reward for each, rounded to DECIMALS; None for what is too long."""
        from builder.reward_model import model as scoring

        if self.loaded is None:
            self.loaded = scoring.load(self.folder, self.settings.dtype, self.settings.trust_remote_code)
        tokenizer, model, kept = self.loaded
        read = [encode(tokenizer, messages, text, kept.max_completion) for messages, text in completions]
        most = models.context(model)
        able = [place for place, tokens in enumerate(read) if len(tokens.ids) <= most]
        found: list[float | None] = [None] * len(read)
        if able:
            values = scoring.of_tokens(model, [read[place] for place in able], self.settings.batch_size).reward
            for place, value in zip(able, values.double().tolist(), strict=True):
                found[place] = round(value, DECIMALS)
        return found
