"""Judged pairs and selection, against the plain definition by double loops."""

import itertools
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.compare import comparable, judged_pairs
from builder.pair import select
from builder.params import Pair

VALUES = st.sampled_from([-0.5, 0.0, 0.25, 0.25 + 1e-12, 0.3, 1.0])
ROWS = st.lists(st.tuples(st.sampled_from("pqr"), VALUES, st.sampled_from("abc")), max_size=14)


def frame(rows: list[tuple[str, float, str]]) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "completion_id": [f"{p}-{i:02d}" for i, (p, _, _) in enumerate(rows)],
        "prompt_id": [p for p, _, _ in rows],
        "value": pl.Series([v for _, v, _ in rows], dtype=pl.Float64),
        "text": pl.Series([ord(t) for _, _, t in rows], dtype=pl.UInt64),
    }
    return pl.DataFrame(columns, schema_overrides={"completion_id": pl.String, "prompt_id": pl.String})


def plain_pairs(rows: list[tuple[str, float, str]]) -> set[tuple[str, str]]:
    named = [(f"{p}-{i:02d}", p, v, t) for i, (p, v, t) in enumerate(rows)]
    ordered = sorted(named, key=lambda row: (row[1], -row[2], row[0]))
    return {(a[0], b[0]) for a, b in itertools.combinations(ordered, 2) if a[1] == b[1] and a[3] != b[3]}


def taken(rows: list[tuple[str, float, str]], **settings: Any) -> list[tuple[str, str]]:
    judged = judged_pairs(frame(rows))
    ids = judged.values["completion_id"]
    found = select(judged, Pair(**settings), seed=1)
    return [(ids[int(judged.better[i])], ids[int(judged.worse[i])]) for i in found]


@given(ROWS)
def test_judged_pairs_are_all_pairs_of_a_prompt_with_different_texts(rows: list[tuple[str, float, str]]) -> None:
    judged = judged_pairs(frame(rows))
    ids = judged.values["completion_id"].to_list()
    found = [(ids[b], ids[w]) for b, w in zip(judged.better, judged.worse, strict=True)]
    assert len(found) == len(set(found))
    assert set(found) == plain_pairs(rows)
    assert (judged.delta >= 0).all()


@given(ROWS, st.sampled_from([0.0, 0.05, 0.3]), st.sampled_from(["best_worst", "all", "best_random", "adjacent"]))
def test_no_strategy_takes_a_tie_or_equal_texts(rows: list[tuple[str, float, str]], gap: float, strategy: str) -> None:
    value = {f"{p}-{i:02d}": (v, t) for i, (p, v, t) in enumerate(rows)}
    for better, worse in taken(rows, min_gap=gap, strategy=strategy):
        assert round(value[better][0] - value[worse][0], 9) > gap
        assert value[better][1] != value[worse][1]


@given(ROWS)
def test_best_worst_takes_the_largest_delta_of_each_prompt(rows: list[tuple[str, float, str]]) -> None:
    value = {f"{p}-{i:02d}": v for i, (p, v, _) in enumerate(rows)}
    found = {b.split("-")[0]: value[b] - value[w] for b, w in taken(rows)}
    best: dict[str, float] = {}
    for better, worse in plain_pairs(rows):
        prompt = better.split("-")[0]
        best[prompt] = max(best.get(prompt, 0.0), value[better] - value[worse])
    assert found == {prompt: delta for prompt, delta in best.items() if round(delta, 9) > 0}


def test_all_takes_every_pair_and_adjacent_only_neighbours() -> None:
    rows = [("p", 0.9, "a"), ("p", 0.5, "b"), ("p", 0.1, "c")]
    assert taken(rows, strategy="all") == [("p-00", "p-01"), ("p-01", "p-02"), ("p-00", "p-02")]
    assert taken(rows, strategy="adjacent") == [("p-00", "p-01"), ("p-01", "p-02")]


def test_best_random_pairs_the_best_with_one_other_and_depends_on_the_seed() -> None:
    rows = [(p, 1.0 - i / 10, t) for p in "pqrstuvw" for i, t in enumerate("abcd")]
    judged = judged_pairs(frame(rows))
    draws = [select(judged, Pair(strategy="best_random"), seed) for seed in (1, 1, 2)]
    assert len(draws[0]) == 8
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()
    assert set(judged.values["value"].gather(judged.better[draws[0]])) == {1.0}


def test_ties_are_kept_on_demand() -> None:
    rows = [("p", 0.5, "a"), ("p", 0.5, "b")]
    assert taken(rows) == []
    assert taken(rows, ties="keep") == [("p-00", "p-01")]


@pytest.mark.parametrize(("gap", "pairs"), [(0.1, 0), (0.0999, 1)])
def test_a_gap_is_a_tie_up_to_and_with_its_bound(gap: float, pairs: int) -> None:
    assert len(taken([("p", 0.3, "a"), ("p", 0.2, "b")], min_gap=gap)) == pairs


def ratings(rows: list[tuple[str, str, float | None]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    table = pl.DataFrame(rows, schema=["completion_id", "judge", "reward"], orient="row")
    table = table.with_columns(prompt_id=pl.col("completion_id").str.head(1))
    texts = table.select("completion_id").unique().with_columns(text="completion_id")
    return table, texts


def test_the_mean_counts_only_completions_judged_by_all_judges_of_their_prompt() -> None:
    rows = [("p0", "x", 1.0), ("p0", "y", 0.0), ("p1", "x", 0.2), ("p2", "x", 0.4), ("p2", "y", 0.2), ("q0", "x", 0.7)]
    values = comparable(*ratings(rows), "reward", "mean")
    assert dict(values.select("completion_id", "value").iter_rows()) == pytest.approx({"p0": 0.5, "p2": 0.3, "q0": 0.7})


def test_a_judge_without_a_readable_word_on_a_prompt_does_not_empty_it() -> None:
    rows = [("p0", "x", 1.0), ("p1", "x", 0.5), ("p0", "broken", None), ("p1", "broken", None)]
    assert len(comparable(*ratings(rows), "reward", "mean")) == 2


def test_one_judge_can_be_chosen() -> None:
    rows = [("p0", "x", 1.0), ("p0", "y", 0.0), ("p1", "x", 0.2)]
    values = comparable(*ratings(rows), "reward", "y")
    assert values.select("completion_id", "value").rows() == [("p0", 0.0)]


def test_empty_input_gives_no_pairs() -> None:
    judged = judged_pairs(frame([]))
    assert len(judged.delta) == 0
    assert len(select(judged, Pair(), seed=1)) == 0
    assert np.round(judged.delta).dtype == np.float64
