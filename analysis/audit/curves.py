"""Where a rating agrees with the truth: by the size of its delta, by the difference in length, by source.

Each gives parts of the compared pairs: what to call a part, and which pairs are in it [compared pairs].
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.audit.agreement import Compared
from analysis.audit.pairs import MATCHED, Pairs

BINS, LEAST = 10, 50
"""Bins of delta, and the pairs that each should hold."""
LENGTHS = ("far shorter", "shorter", "alike", "longer", "far longer")
"""How much longer the preferred completion is: beyond half of the longer one, beyond a quarter, less than that."""
SOURCES = 12
"""Sources shown; the pairs of the others are one."""

Mask = NDArray[np.bool_]
Part = tuple[dict[str, Any], Mask]


def by_delta(compared: Compared) -> Iterator[Part]:
    """From the smallest deltas to the largest: bins of about as many pairs, equal deltas in one bin.

    ``from`` and ``to``: the bin's place among all pairs that are rated, in [0, 1]; ``delta``: the mean in it.
    """
    size = np.abs(compared.delta)
    rated = np.count_nonzero(compared.known)
    if not rated:
        return
    bins = int(np.clip(rated // LEAST, 1, BINS))
    edges = np.unique(np.quantile(size[compared.known], np.arange(1, bins) / bins))
    end = 0
    for _, which in _groups(np.where(compared.known, np.searchsorted(edges, size, "left"), -1)):
        start, end = end, end + int(np.count_nonzero(which))
        yield {"from": start / rated, "to": end / rated, "delta": float(size[which].mean())}, which


def halves(compared: Compared) -> tuple[Mask, Mask]:
    """Above the median delta and up to it, of the pairs that the rating does not tie."""
    size = np.abs(compared.delta)
    untied = compared.known & (size > 0)
    middle = float(np.median(size[untied])) if untied.any() else 0.0
    return untied & (size > middle), untied & (size <= middle)


def by_length(compared: Compared, pairs: Pairs) -> Iterator[Part]:
    """By how much longer the preferred one is: length in disguise is right on one side and wrong on the other."""
    longer = pairs.longer[pairs.compared]
    place = np.select([longer <= -0.5, longer <= -MATCHED, longer < MATCHED, longer < 0.5], [0, 1, 2, 3], 4)
    for number, which in _groups(np.where(compared.known, place, -1)):
        yield {"preferred": LENGTHS[number]}, which


def by_source(compared: Compared, pairs: Pairs) -> Iterator[Part]:
    """By source, the most frequent first; nothing where there is only one."""
    source = pairs.source.filter(pl.Series(pairs.compared)).alias("source")
    counts = source.value_counts().sort(["count", "source"], descending=[True, False])
    if len(counts) < 2:
        return
    names = counts["source"].to_list()[:SOURCES]
    place = source.replace_strict(names, list(range(len(names))), default=len(names), return_dtype=pl.Int64).to_numpy()
    for number, which in _groups(np.where(compared.known, place, -1)):
        yield {"source": [*names, "all others"][number]}, which


def _groups(place: NDArray[np.int64]) -> Iterator[tuple[int, Mask]]:
    """Each number that stands in ``place``, and where; -1 is none."""
    for number in np.unique(place[place >= 0]):
        yield int(number), place == number
