"""Intervals over seeds and prompts, which are crossed: every seed works on the same prompts.

The pigeonhole bootstrap (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007) resamples
seeds and prompts independently of each other; a cell counts as often as its seed times as often as its
prompt was drawn. With many of both it is right for what seeds or prompts have in common and up to three times
too wide in variance where a cell differs by itself; with few seeds it is too narrow in what seeds add.
"""

from collections.abc import Callable
from dataclasses import dataclass

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
    generator = np.random.default_rng(seed)
    by_seed = generator.multinomial(seeds, np.full(seeds, 1 / seeds), resamples).astype(np.float64)
    parts = []
    at_once = max(BLOCK // max(prompts, 1), 1)
    for start in range(0, resamples, at_once):
        rows = by_seed[start : start + at_once]
        by_prompt = _counts(generator, len(rows), prompts)
        parts.append(np.stack([((rows @ cell) * by_prompt).sum(axis=1) for cell in cells]))
    return Sums(tuple(columns), cells.sum(axis=(1, 2)), np.concatenate(parts, axis=1))


def _counts(generator: np.random.Generator, rows: int, size: int) -> Numbers:
    """[rows, size]: how often each of ``size`` things was drawn in ``size`` draws with replacement."""
    drawn = generator.integers(0, max(size, 1), (rows, size)) + size * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)


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
