"""What the trainer logged, an arm's rounds in one row of optimiser steps, and how it changed over training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.intervals import RESAMPLES, Estimate, Numbers, drawn_seeds
from analysis.paper.experiment import Cell

WINDOW = 0.1
"""The share of a row's steps that its beginning and its end are the means of."""


@dataclass(frozen=True, eq=False)
class Logged:
    """One value of one arm: ``rows`` holds the steps of each seed, which may differ in number.

    ``starts``: the step (from 0) at which each round begins, in the first seed's row.
    """

    arm: str
    seeds: tuple[int, ...]
    rows: tuple[Numbers, ...]
    starts: tuple[int, ...]

    @property
    def together(self) -> Numbers:
        """[seeds, steps]: as many steps as all seeds have."""
        steps = min(len(row) for row in self.rows)
        return np.stack([row[:steps] for row in self.rows])


def read(cells: Sequence[Cell], name: str) -> Logged | None:
    """The value ``name`` of one arm's cells; None where nothing finite is logged under that name."""
    rounds: dict[int, list[Numbers]] = {}
    for cell in sorted(cells, key=lambda cell: (cell.seed, cell.round)):
        table = cell.run.table("training")
        if table is None:
            continue
        values = table.filter((pl.col("name") == name) & pl.col("value").is_finite()).sort("step")["value"]
        if len(values):
            rounds.setdefault(cell.seed, []).append(values.to_numpy())
    if not rounds:
        return None
    lengths = [len(values) for values in next(iter(rounds.values()))]
    starts = tuple(int(start) for start in np.cumsum([0, *lengths[:-1]]))
    return Logged(cells[0].arm, tuple(rounds), tuple(np.concatenate(parts) for parts in rounds.values()), starts)


def restarts(cells: Sequence[Cell]) -> bool:
    """Whether a later round is measured against another reference than the first, so that its loss starts again."""
    later = [cell.run.settings("training") for cell in cells if cell.round > 0]
    return any(settings.get("train", {}).get("reference") == "previous" for settings in later)


def difference(logged: Logged, seed: int = 0) -> Estimate:
    """Mean of the last tenth of the steps less mean of the first, averaged over seeds.

    Resampled are the seeds and, within the windows of a seed that is drawn, the steps: each is a batch of
    prompts of its own.
    """
    generator = np.random.default_rng([seed, 1])
    drawn = drawn_seeds(len(logged.rows), seed=seed)
    changes = np.array([row[-window(row) :].mean() - row[: window(row)].mean() for row in logged.rows])
    resampled = np.zeros(drawn.shape)
    for column in range(drawn.shape[1]):
        for index, row in enumerate(logged.rows):
            mine = drawn[:, column] == index
            size = window(row)
            picked = generator.integers(0, size, (2, RESAMPLES, size))[:, mine]
            resampled[mine, column] = (row[-size:][picked[1]] - row[:size][picked[0]]).mean(axis=1)
    return Estimate(float(changes.mean()), resampled.mean(axis=1))


def window(row: Numbers) -> int:
    """Steps in a window: a tenth of all, one at least."""
    return max(round(WINDOW * len(row)), 1)
