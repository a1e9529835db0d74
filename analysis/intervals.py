"""Intervals over seeds and prompts, which are crossed: every seed works on the same prompts.

The pigeonhole bootstrap (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007) resamples
seeds and prompts independently of each other; a cell counts as often as its seed times as often as its
prompt was drawn. With many of both it is right for what seeds or prompts have in common and up to three times
too wide in variance where a cell differs by itself; with few seeds it is too narrow in what seeds add.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

RESAMPLES = 2_000
FEW_SEEDS = 5
BLOCK = 1 << 22
"""Numbers that one block of prompts' counts may hold: 32 MiB."""
LEVEL = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number and its resamples. Estimates of the same draws are compared resample by resample.

    ``draws``: [resamples]; NaN where a resample holds nothing to be measured.
    """

    value: float
    draws: Numbers

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% percentile interval; NaN where nothing could be resampled."""
        finite = self.draws[np.isfinite(self.draws)]
        if not len(finite):
            return float("nan"), float("nan")
        low, high = np.quantile(finite, LEVEL)
        return float(low), float(high)

    def __sub__(self, other: "Estimate | float") -> "Estimate":
        return self._with(other, np.subtract)

    def __truediv__(self, other: "Estimate | float") -> "Estimate":
        return self._with(other, np.divide)

    def _with(self, other: "Estimate | float", operation: Callable[..., Numbers]) -> "Estimate":
        value, draws = (other.value, other.draws) if isinstance(other, Estimate) else (other, other)
        with np.errstate(divide="ignore", invalid="ignore"):
            return Estimate(float(operation(np.float64(self.value), value)), operation(self.draws, draws))


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums of named columns: ``point`` as they are, ``draws`` [columns, resamples] in each resample."""

    names: tuple[str, ...]
    point: Numbers
    draws: Numbers

    def estimate(self, statistic: Callable[[dict[str, Numbers]], Numbers]) -> Estimate:
        """A statistic of the sums, such as a ratio of two of them: the ratio within each resample."""
        with np.errstate(divide="ignore", invalid="ignore"):
            value = statistic(dict(zip(self.names, self.point[:, None], strict=True)))
            draws = statistic(dict(zip(self.names, self.draws, strict=True)))
        return Estimate(float(value[0]), draws)

    def ratio(self, above: str, below: str) -> Estimate:
        return self.estimate(lambda sums: sums[above] / sums[below])


def pigeonhole(columns: dict[str, Numbers], seed: int = 0, resamples: int = RESAMPLES) -> Sums:
    """Resampled sums of ``columns``, each [seeds, prompts]: 0 where a seed does not hold a prompt.

    The same shape and ``seed`` give the same draws, so that what is resampled apart can be compared.
    """
    cells = np.stack(list(columns.values()))
    _, seeds, prompts = cells.shape
    by_seed = np.random.default_rng(seed).multinomial(seeds, np.full(seeds, 1 / seeds), resamples)
    by_prompt = _counts(prompts, seed, resamples)
    at_once = max(BLOCK // max(prompts, 1), 1)
    flat = cells.reshape(len(cells) * seeds, prompts).T  # one product of matrices for all columns and seeds
    parts = [by_prompt[start : start + at_once].astype(np.float64) @ flat for start in range(0, resamples, at_once)]
    of_seeds = np.concatenate(parts).reshape(resamples, len(cells), seeds)
    return Sums(tuple(columns), cells.sum(axis=(1, 2)), np.einsum("bks,bs->kb", of_seeds, by_seed))


@lru_cache(maxsize=2)
def _counts(prompts: int, seed: int, resamples: int) -> NDArray[np.uint8]:
    """[resamples, prompts]: how often each was drawn. In bytes, since it is kept: 60,000 prompts take 120 MB."""
    generator = np.random.default_rng([seed, 1])
    counts = np.empty((resamples, prompts), np.uint8)
    for row in counts:
        row[:] = np.bincount(generator.integers(0, max(prompts, 1), prompts), minlength=prompts)
    return counts


def drawn_seeds(seeds: int, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int64]:
    """[resamples, seeds]: which seeds a resample holds, for what is known by optimiser step only."""
    return np.random.default_rng(seed).integers(0, seeds, (resamples, seeds))


def caveat(seeds: int) -> str:
    """What the intervals leave out, in a sentence; "" where there are seeds enough."""
    if seeds == 1:
        return (
            "There is one seed: the intervals are over prompts or steps and do not cover what another seed would give."
        )
    if seeds < FEW_SEEDS:
        return (
            f"With {seeds} seeds the intervals are too narrow in what seeds add: resampling so few cannot show it all."
        )
    return ""
