"""Rounds stand in one row of steps; the difference is that of the last and the first tenth."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis.paper import experiment, logged
from analysis.paper.logged import Logged
from builder import tables

Make = Callable[..., Path]


def of(*rows: list[float]) -> Logged:
    return Logged("arm", tuple(range(len(rows))), tuple(np.array(row) for row in rows), (0,))


def test_rounds_follow_each_other_in_each_seed(make_run: Make, tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"{seed}/{index}", seed, "wim", index, steps=7) for seed in (1, 2) for index in (0, 1)]
    found = logged.read(experiment.read(runs).cells, "loss")
    assert found is not None
    assert [len(row) for row in found.rows] == [14, 14]
    assert found.starts == (0, 7)
    last = tables.read(runs[1] / "training.parquet", "training").filter(pl.col("name") == "loss").sort("step")["value"]
    assert found.rows[0][7:].tolist() == last.to_list()
    assert logged.read(experiment.read(runs).cells, "no such name") is None


def test_the_difference_is_of_the_last_and_first_tenth() -> None:
    row = [1.0, 1.0, *np.linspace(5, 9, 16), 3.0, 4.0]
    found = logged.difference(of(row, [value + 1 for value in row]))
    assert found.value == pytest.approx(2.5)
    low, high = found.interval
    assert 2.0 <= low < 2.5 < high <= 3.0


def test_few_steps_have_a_window_of_one() -> None:
    found = logged.difference(of([4.0, 9.0, 1.0]))
    assert (found.value, *found.interval) == (-3.0, -3.0, -3.0)


def test_seeds_of_other_lengths_are_drawn_as_they_are_and_cut_together() -> None:
    rows = of([0.0] * 10 + [1.0] * 10, [0.0, 5.0, 3.0])
    assert logged.difference(rows).value == pytest.approx(2.0)
    assert logged.difference(rows).interval == (1.0, 3.0)
    assert rows.together.shape == (2, 3)
