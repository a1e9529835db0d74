"""Sums over runs are stats.json's numbers for one run; the shape of ratings is scipy's."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats as scipy_stats

from analysis.paper import experiment, rated, shapes
from builder import pair, params, rate, tables

STATISTICS = ("tie_rate", "average_delta", "normalised_delta", "effect_delta", "skewness")
WIDTHS = {"numerical": 9.0, "wim": 10.0}


def made(run: Path, *sets: str) -> Path:
    """The run, rated and paired anew under other parameters."""
    settings = params.load(None, list(sets), "", 0)
    rate.run(run, settings)
    pair.run(run, settings, "wim", 0)
    return run


@pytest.mark.parametrize(
    "sets",
    [(), ("pair.min_gap=0.1",), ("rating.rescale=true",), ("rating.scale=[1, 20]", "pair.min_gap=0.05")],
    ids=" ".join,
)
def test_of_one_run_the_numbers_are_those_of_stats_json(run: Path, sets: tuple[str, ...]) -> None:
    found = rated.of_cells(experiment.read([made(run, *sets)]).cells)
    methods = tables.read_json(run / "stats.json")["methods"]
    for method, several in found.items():
        low, high = several[0].scale
        statistics = rated.statistics(rated.sums(several), high - low)
        for name in STATISTICS:
            assert statistics[name].value == pytest.approx(methods[method][name]), (method, name)
            ends = statistics[name].interval
            assert ends[0] <= statistics[name].value <= ends[1]
        assert several[0].values.mean() == pytest.approx(methods[method]["mean"])


def test_runs_of_the_same_judgements_count_once(run: Path) -> None:
    other = shutil.copytree(run, run.parents[1] / "random" / "0")
    pairs = tables.read(other / "pairs.parquet", "pairs").with_columns(arm=pl.lit("random"))
    tables.write(other / "pairs.parquet", "pairs", pairs, {})
    found = experiment.read([run, other])
    assert found.arms == ["random", "wim-fixed"]
    assert [one.arm for one in rated.of_cells(found.cells)["wim"]] == ["random"]
    ratings = tables.read(other / "ratings.parquet", "ratings")
    tables.write(other / "ratings.parquet", "ratings", ratings.with_columns(pl.col("wim") / 2), {})
    assert len(rated.of_cells(found.cells)["wim"]) == 2


def test_several_runs_pool_their_pairs(run: Path) -> None:
    other = shutil.copytree(run, run.parent / "1")
    pairs = tables.read(other / "pairs.parquet", "pairs").with_columns(round=pl.lit(1, pl.Int32))
    tables.write(other / "pairs.parquet", "pairs", pairs, {})
    several = rated.of_cells(experiment.read([run, other]).cells)["numerical"]
    assert [one.round for one in several] == [0, 1]
    alone, both = (rated.statistics(rated.sums(part), 9.0) for part in (several[:1], several))
    assert both["tie_rate"].value == alone["tie_rate"].value
    assert rated.sums(several).point == pytest.approx(2 * rated.sums(several[:1]).point)


def cell_of(values: np.ndarray) -> rated.Rated:
    """A run's worth of WIM ratings on 0 to 10, one completion a prompt."""
    frame = pl.DataFrame({"completion_id": [f"c{i}" for i in range(len(values))], "value": values / 5 - 1})
    frame = frame.with_columns(prompt_id="completion_id", judge=pl.lit("j"))
    texts = frame.select("completion_id", text="completion_id")
    pairs = rated.judged_pairs(rated.comparable(frame, texts, "value", "mean"))
    return rated.Rated(1, "wim", 0, (0.0, 10.0), 0.0, 5.0, pairs)


def test_the_shape_is_scipys_and_knows_a_spike() -> None:
    generator = np.random.default_rng(4)
    below = 9 - generator.gamma(4, 0.4, 900)
    shape = shapes.of([cell_of(np.append(below, np.full(100, 10.0)))])
    assert shape.at_top.value == 0.1
    assert shape.next_to_top.value == 0.0
    assert shape.modes is None
    assert shape.skewness_below.value == pytest.approx(scipy_stats.skew(below))
    assert shape.kurtosis_below.value == pytest.approx(scipy_stats.kurtosis(below))
    assert shape.skewness_below.interval[1] < 0 < shape.at_top.interval[0]


def test_the_modes_are_the_two_most_frequent_values() -> None:
    values = np.repeat([3.0, 7.0, 8.0, 9.0], [10, 50, 30, 10])
    shape = shapes.of([cell_of(values)])
    assert shape.modes == (7.0, 8.0)
    assert shape.at_modes is not None
    assert shape.at_modes.value == shape.at_published_modes.value == 0.8
