"""Ratings: how a judgement becomes a number, higher is better. One file per rating."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder.params import Params

Vectors = Callable[[pl.Series], NDArray[np.float32]]
"""Looks texts up: a column of texts gives float32 [rows, dimensions], NaN for a null."""


class Rating(Protocol):
    """A module of this folder holds a class ``Rating`` made from the parameters.

    ``uses`` names what the rating reads, of: text (the feedback), completion, prompt, number, length,
    reference, engine, chance, truth. A judgement whose text or number it uses must hold it readable.

    A class with ``together = True`` compares judgements with each other, or learns from them: ``rate`` is then
    called once, with all judgements of the run, and not block by block. A class may say by ``null_reason`` why it
    gives none for a judgement that it can read (default: a vector has no direction).
    """

    uses: frozenset[str]

    def __init__(self, params: Params) -> None: ...

    def texts(self, judgements: pl.DataFrame) -> list[pl.Series]:
        """The columns of texts whose embeddings ``rate`` will look up; nulls need none."""
        ...

    def rate(self, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
        """One float64 per row of ``judgements`` (builder.judgements.collect); null where there is none."""
        ...


def is_together(rating: Rating) -> bool:
    """Whether a rating wants all judgements of a run at once."""
    return bool(getattr(rating, "together", False))
