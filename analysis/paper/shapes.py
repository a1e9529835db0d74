"""How the ratings are distributed, in the numbers that the paper's figures claim by eye."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.intervals import Estimate, Numbers, pigeonhole
from analysis.paper.published import MODES
from analysis.paper.rated import Rated, cells, middle, moments, powers, skewness, summed

NEIGHBOUR = 0.25
"""The spike at the scale's end is held against the stretch below it, this wide: a bin of the report's histograms."""


@dataclass(frozen=True, eq=False)
class Shape:
    """Shares are of all values. ``below``: without the values at the scale's upper end.

    ``modes``: the two most frequent values, as rounded to the scale's steps; None where values do not repeat.
    """

    modes: tuple[float, float] | None
    at_modes: Estimate | None
    at_published_modes: Estimate
    at_top: Estimate
    next_to_top: Estimate
    skewness: Estimate
    skewness_below: Estimate
    kurtosis_below: Estimate


def of(rated: Sequence[Rated]) -> Shape:
    """The shape of a method's values over runs."""
    modes = _modes(np.concatenate([one.values for one in rated]))
    frames = [_by_prompt(one, modes).with_columns(seed=pl.lit(one.seed)) for one in rated]
    found = pigeonhole(cells(pl.concat(frames).group_by("seed", "prompt_id").sum().sort("seed", "prompt_id")))
    return Shape(
        modes=modes,
        at_modes=found.ratio("modes", "v0") if modes else None,
        at_published_modes=found.ratio("published", "v0"),
        at_top=found.ratio("top", "v0"),
        next_to_top=found.ratio("next", "v0"),
        skewness=found.estimate(skewness),
        skewness_below=found.estimate(lambda sums: skewness(sums, "b")),
        kurtosis_below=found.estimate(_kurtosis),
    )


def _modes(values: Numbers) -> tuple[float, float] | None:
    """The two most frequent values, the lower first, where there are few different ones."""
    different, counts = np.unique(np.round(values, 9), return_counts=True)
    if len(different) < 2 or len(different) > len(values) / 4:
        return None
    low, high = sorted(different[np.argsort(-counts, kind="stable")[:2]].tolist())
    return low, high


def _by_prompt(rated: Rated, modes: tuple[float, float] | None) -> pl.DataFrame:
    values, end = rated.values, rated.scale[1]
    centred, below = values - middle(rated.scale), values < end
    shares = {
        "modes": np.isin(np.round(values, 9), modes or ()),
        "published": np.isin(np.round(values, 9), MODES),
        "top": ~below,
        "next": below & (values >= end - NEIGHBOUR),
    }
    columns = powers(centred, "v") | {name: share.astype(np.float64) for name, share in shares.items()}
    columns |= {name: np.where(below, power, 0.0) for name, power in powers(centred, "b", 4).items()}
    return summed(rated.pairs.values["prompt_id"], columns)


def _kurtosis(sums: dict[str, Numbers]) -> Numbers:
    """The biased excess kurtosis g2 below the scale's end: 0 for a normal distribution."""
    mean, variance, _ = moments(sums, "b")
    r2, r3, r4 = (sums[f"b{power}"] / sums["b0"] for power in (2, 3, 4))
    return (r4 - 4 * mean * r3 + 6 * mean**2 * r2 - 3 * mean**4) / variance**2 - 3
