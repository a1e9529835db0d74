"""Completions with features, and pairs of them with a graded preference: what the losses are compared on."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Graded:
    """``features`` [completions, size], of which ``weights`` [size] says how far each is, once standardised, spread: a
    narrow one is penalised more. ``length`` [completions]: the logarithm of the characters.

    ``prompt`` [completions], from 0 on: what is learned from or held out as a whole. ``list_of`` [completions]: those
    with the same number are compared with each other. ``value`` [completions]: higher is better, NaN where not known.
    ``first``, ``second`` [pairs]: completions. ``learned`` [pairs]: how much the first one is better by the labels that
    are learned from, negative where the second one is, NaN where not told; ``references``: the same by others, whom
    the rewards are held against. ``cuts``: of ``learned`` into grades; None: at its quantiles, into five.
    """

    features: Numbers
    weights: Numbers
    length: Numbers
    prompt: Places
    list_of: Places
    value: Numbers
    first: Places
    second: Places
    learned: Numbers
    references: Mapping[str, Numbers]
    cuts: tuple[float, ...] | None = None

    @property
    def prompt_of_pair(self) -> Places:
        return self.prompt[self.first]


def of_ratings(
    features: Numbers,
    weights: Numbers,
    length: Numbers,
    prompts: pl.Series,
    learned: Numbers,
    references: Mapping[str, Numbers],
) -> Graded:
    """Every pair of completions of one prompt, its preference the difference of their ratings [completions]."""
    prompt = numbered(prompts)
    first, second = pairs_within(prompt)

    def delta(values: Numbers) -> Numbers:
        return np.round(values[first] - values[second], 9)

    told = {name: delta(values) for name, values in references.items()}
    return Graded(features, weights, length, prompt, prompt, learned, first, second, delta(learned), told)


def pairs_within(groups: Places) -> tuple[Places, Places]:
    """Each two places with the same number, once."""
    frame = pl.DataFrame({"group": groups, "place": np.arange(len(groups))})
    both = frame.join(frame, on="group", maintain_order="left_right").filter(pl.col("place") < pl.col("place_right"))
    return both["place"].to_numpy(), both["place_right"].to_numpy()


def numbered(names: pl.Series) -> Places:
    """Equal names get the same number, from 0 on, in the order in which they come."""
    return (names.rank("dense") - 1).cast(pl.Int64).to_numpy()


def standing(first: Places, second: Places, delta: Numbers, count: int) -> Numbers:
    """[count]: by how many pairs more each completion is better than worse, for each pair it is in; NaN without any."""
    signs, places = np.sign(delta), np.concatenate([first, second])
    total = np.bincount(places, np.concatenate([signs, -signs]), count)
    with np.errstate(invalid="ignore"):
        found: Numbers = total / np.bincount(places, minlength=count)
    return found
