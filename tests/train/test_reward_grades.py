"""Grades of preference: from the quantiles of delta, from numbers, from what pair judges said."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rewarded import make_run

from builder import tables
from builder.errors import TableError, WimError
from train.preferences import rated
from train.reward_model import aspects, examples, grades


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7])
def test_told_both_ways_round_each_grade_is_as_frequent(count: int) -> None:
    delta = pl.Series(np.random.default_rng(0).gamma(1.0, size=12_600))
    found = grades.of_delta(delta, grades.cuts(delta, count), count).to_numpy()
    both = np.bincount(np.concatenate([found, count - 1 - found]), minlength=count) / (2 * len(delta))
    assert both == pytest.approx(np.full(count, 1 / count), abs=1e-3)


def test_a_larger_delta_is_never_a_lower_grade_and_a_tie_is_alike() -> None:
    delta = pl.Series([0.0, 0.1, 0.2, 0.5, 0.9])
    assert grades.of_delta(delta, (0.1, 0.5), 5).to_list() == [2, 2, 3, 3, 4]
    assert grades.of_delta(delta, (0.2,), 4).to_list() == [None, 2, 2, 3, 3]
    assert grades.of_delta(delta, (), 2).to_list() == [None, 1, 1, 1, 1]


def test_deltas_that_do_not_come_in_so_many_grades_are_told() -> None:
    tied = pl.Series([0.0, 0.0, 0.0, 0.2, 0.3])
    assert grades.of_delta(tied, grades.cuts(tied, 4), 4).to_list() == [None, None, None, 2, 3]
    with pytest.raises(WimError, match=r"3 pairs do not come in 5 grades .*take fewer"):
        grades.cuts(pl.Series([1.0, 1.0, 1.0]), 5)


def test_numbers_are_grades_around_alike() -> None:
    values = pl.Series([-2.0, -1.0, 0.0, 1.0, 2.0, 1.5, -0.5, None, float("nan")])
    assert grades.of_values(values, 5, "x").to_list() == [0, 1, 2, 3, 4, 3, 2, None, None]
    assert grades.of_values(values, 4, "x").to_list() == [0, 1, None, 2, 3, 2, None, None, None]
    with pytest.raises(TableError, match="x: -2 is beyond the grades from -1 to 1"):
        grades.of_values(values, 3, "x")
    for others in (["a"], [None], [[{"role": "user"}]], [True]):
        with pytest.raises(TableError, match="holds no number"):
            grades.of_values(pl.Series(others), 5, "x")


def test_pair_judges_grade_the_pair_whoever_stood_first(tmp_path: Path) -> None:
    make_run(tmp_path, prompts=4)
    said = tables.read(tmp_path / "comparisons.parquet", "comparisons")
    pairs = said.select(chosen_id="b", rejected_id="a")
    assert grades.compared(tmp_path, pairs, 5).to_list() == (-said["grade"].cast(pl.Float64)).to_list()
    stranger = pl.DataFrame({"chosen_id": ["x"], "rejected_id": ["y"]})
    assert grades.compared(tmp_path, stranger, 5).to_list() == [None]
    with pytest.raises(TableError, match=r"from -2 to 2; set reward.grades to 5"):
        grades.compared(tmp_path, pairs, 7)


def test_ties_of_the_best_are_in_its_place_and_lists_without_a_best_are_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = {"a": [1.0, 3.0, 2.95], "b": [1.0, 1.0], "c": [5.0]}
    rows = [(f"{p}-{i}", p, [], str(i), v) for p, each in values.items() for i, v in enumerate(each)]
    told = pl.DataFrame(rows, schema=rated.COLUMNS, orient="row")
    made = examples.of_lists(told, 0.1)
    assert made.select("prompt_id", "chosen", "rejected").rows() == [("a", ["a-1", "a-2"], ["a-0"])]
    assert "2 of 3 prompts are left out" in capsys.readouterr().err
    assert examples.of_lists(told, 0.0)["chosen"].to_list() == [["a-1"]]


def test_an_aspect_that_is_always_the_same_is_told_also_where_rounding_says_otherwise() -> None:
    """The standard deviation of seven times 7.3 is 9e-16: targets in such units would be anything."""
    names = [str(i) for i in range(8)]
    numbers = pl.DataFrame({"completion_id": names, "even": [7.3] * 7 + [1.0], "own": [float(i) for i in range(8)]})
    with pytest.raises(TableError, match="aspect 'even': all completions that are learned from have the same number"):
        aspects.targets(numbers, names, names[:7])
    assert aspects.targets(numbers, names, names).names == ("even", "own")
