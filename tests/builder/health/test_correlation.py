"""Rank correlations against scipy's."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, rankdata, spearmanr

from builder.health import correlation, sample

ROWS = st.lists(
    st.tuples(st.sampled_from("pqr"), st.integers(1, 5) | st.none(), st.integers(1, 5) | st.none()), max_size=30
)


@given(ROWS)
def test_ranks_equal_scipys_overall_and_within_groups(rows: list[tuple[str, int | None, int | None]]) -> None:
    schema = {"prompt_id": pl.String, "a": pl.Int64, "b": pl.Int64}
    found = correlation.ranks(pl.DataFrame(rows, schema=schema, orient="row"), "a", "b", ["prompt_id"])
    both = [(p, a, b) for p, a, b in rows if a is not None and b is not None]
    assert found["n"] == len(both)
    a, b = (np.array([row[i] for row in both], np.float64) for i in (1, 2))
    varied = len(both) > 1 and a.std() > 0 and b.std() > 0
    assert found["overall"] == (pytest.approx(spearmanr(a, b).statistic, abs=1e-6) if varied else None)
    groups = np.array([row[0] for row in both])
    centred = [np.zeros(len(both)), np.zeros(len(both))]
    for group in set(groups):
        for values, into in zip((a, b), centred, strict=True):
            ranked = rankdata(values[groups == group])
            into[groups == group] = ranked - ranked.mean()
    varied = len(both) > 1 and all(values.std() > 0 for values in centred)
    assert found["within"] == (pytest.approx(pearsonr(*centred).statistic, abs=1e-6) if varied else None)


def test_a_sample_holds_whole_prompts_and_keeps_them_when_the_run_grows() -> None:
    frame = pl.DataFrame({"prompt_id": [f"p{row // 4}" for row in range(4000)], "row": range(4000)})
    drawn = sample.rows(frame, 400)
    assert len(drawn) == 400
    assert set(drawn.group_by("prompt_id").len()["len"]) == {4}
    assert drawn["row"].is_sorted()
    shuffled = sample.rows(frame.sample(fraction=1, shuffle=True, seed=1), 400)
    assert set(shuffled["row"]) == set(drawn["row"])
    fewer = sample.rows(frame.filter(pl.col("row") < 3000), 200)
    assert set(fewer["prompt_id"]) <= set(drawn["prompt_id"])
    assert sample.rows(frame, 4000).equals(frame)
