"""Ratings: how a judgement becomes a number, higher is better. One file per rating."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder import judgements, plugins, tables
from builder.params import Params

Vectors = Callable[[pl.Series], NDArray[np.float32]]
"""Looks texts up: a column of texts gives float32 [rows, dimensions], NaN for a null."""


class Rating(Protocol):
    """A module of this folder holds a class ``Rating`` made from the parameters.

    ``uses`` names what the rating reads, of: text (the feedback), completion, prompt, number, length,
    reference, engine, chance, truth. A judgement whose text or number it uses must hold it readable. Who uses prompt
    or reference finds the columns ``prompt``, ``messages`` and ``reference`` (builder.judgements.with_prompts). Who
    uses engine says by ``about()`` which model it asks, for the table's metadata.

    A class with ``together = True`` compares judgements with each other, learns from them, or loads a model: ``rate``
    is then called once, with all judgements of the run, and not block by block; they have the column ``text`` if it
    uses completion or length. With ``learns = True`` beside it, all are not held for it where the run is large:
    ``learn(frames)``, called before, may read them some at a time as often as it likes (``frames()`` gives them anew),
    and ``rate`` then gets blocks of them; without it ``rate`` gets all and learns from these. A class may say by
    ``null_reason``
    why it gives none for a judgement that it can read (default: a vector has no direction), and by
    ``combines = True`` that it is made of other ratings.
    """

    uses: frozenset[str]

    def __init__(self, params: Params) -> None: ...

    def texts(self, judgements: pl.DataFrame) -> list[pl.Series]:
        """The columns of texts whose embeddings ``rate`` will look up; nulls need none."""
        ...

    def rate(self, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
        """One float64 per row of ``judgements`` (builder.judgements.collect); null where there is none."""
        ...


def asked(ratings: Mapping[str, Rating]) -> dict[str, Any]:
    """``asked``: the models that ratings ask, by the ratings' names; nothing where none asks any."""
    found = {name: cast(Any, rating).about() for name, rating in ratings.items() if "engine" in rating.uses}
    return {"asked": found} if found else {}


def is_together(rating: Rating) -> bool:
    """Whether a rating wants all judgements of a run at once."""
    return bool(getattr(rating, "together", False))


def learns(rating: Rating) -> bool:
    """Whether a rating that wants all judgements takes them some at a time."""
    return bool(getattr(rating, "learns", False))


def learn(ratings: Iterable[Rating], frames: Callable[[], Iterator[pl.DataFrame]]) -> None:
    """Lets those that learn from a run's judgements do so, before blocks of these are rated."""
    for rating in ratings:
        if learns(rating):
            cast(Any, rating).learn(frames)


def wanted(params: Params) -> dict[str, Rating]:
    """The ratings of a run by name: its method's, and those of ``rate.also``."""
    return {name: load(name, params) for name in dict.fromkeys([params.rate.method, *params.rate.also])}


def load(name: str, params: Params) -> Rating:
    """Raises ParamsError where there is no such rating."""
    rating: Rating = plugins.load("ratings", name).Rating(params)
    return rating


def reads_prompts(ratings: Iterable[Rating]) -> bool:
    """Whether any of them reads the prompts' own columns."""
    return any(rating.uses & {"prompt", "reference"} for rating in ratings)


def with_prompts(frame: pl.DataFrame, folder: Path, ratings: Iterable[Rating]) -> pl.DataFrame:
    """Judgements of the run in ``folder`` with their prompts, if one of ``ratings`` reads these."""
    if not reads_prompts(ratings):
        return frame
    prompts = tables.read(tables.find(folder, "prompts"), "prompts", judgements.PROMPTS)
    return judgements.with_prompts(frame, prompts)
