"""The distinct texts whose embeddings a run's ratings look up, in the order of first use."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder import judgements, ratings
from builder.params import Params
from builder.ratings import Rating
from builder.streams.vectors import keys_of


def methods(params: Params) -> dict[str, Rating]:
    """The ratings whose texts are embedded: the run's method, ``rate.also``, and wim, which stats always report."""
    return {"wim": ratings.load("wim", params)} | ratings.wanted(params)


def of_frame(frame: pl.DataFrame, params: Params) -> list[str]:
    """The texts of judgements that are at hand: column by column of the ratings, each from top to bottom."""
    columns = [column for method in methods(params).values() for column in method.texts(frame)]
    return list(dict.fromkeys(text for column in columns for text in _distinct(column)))


class OfRun:
    """``of_frame`` of a run whose tables may be larger than memory, which holds a byte for each text.

    While it is made, it holds 9, and what numpy takes to tell which are the same.

    ``count`` texts; ``fingerprint`` tells them, and their order, from others.
    """

    def __init__(self, inputs: Mapping[str, Path], params: Params) -> None:
        self.stored = judgements.Stored(inputs["completions"], inputs["feedback"], inputs.get("prompts"))
        first = next(self.stored.frames())
        self.columns = [(m, place) for m in methods(params).values() for place in range(len(m.texts(first)))]
        keys = np.concatenate([np.empty(0, np.uint64), *(keys_of(texts) for texts in self._blocks())])
        self.first = np.zeros(len(keys), np.bool_)
        self.first[np.unique(keys, return_index=True)[1]] = True
        self.count = int(self.first.sum())
        self.fingerprint = hashlib.sha256(keys[self.first].tobytes()).hexdigest()

    def __call__(self) -> Iterator[str]:
        """The texts, read anew."""
        start = 0
        for texts in self._blocks():
            uses: NDArray[np.bool_] = self.first[start : start + len(texts)]
            yield from (texts[place] for place in np.flatnonzero(uses))
            start += len(texts)

    def _blocks(self) -> Iterator[list[str]]:
        for method, place in self.columns:
            for frame in self.stored.frames():
                yield _distinct(method.texts(frame)[place])


def _distinct(texts: pl.Series) -> list[str]:
    found: list[str] = texts.drop_nulls().unique(maintain_order=True).to_list()
    return found
