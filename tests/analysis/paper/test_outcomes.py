"""Wins by the truth, over seeds and prompts; lengths; what is not known is left out."""

import numpy as np
import polars as pl
import pytest

from analysis import winrate
from analysis.paper import outcomes


def frame(values: np.ndarray, base: np.ndarray, letters: int = 5) -> pl.DataFrame:
    """``values`` and ``base``: [seeds, prompts]"""
    seeds, prompts = values.shape
    return pl.DataFrame(
        {
            "seed": np.repeat(np.arange(seeds), prompts),
            "prompt_id": [f"p{number:03d}" for number in range(prompts)] * seeds,
            "value": values.ravel(),
            "text": ["a" * letters] * values.size,
            "base_value": base.ravel(),
            "base_text": ["b" * 5] * values.size,
        }
    )


def test_of_one_seed_the_rate_is_winrates() -> None:
    draw = np.random.default_rng(1)
    values, base = draw.choice([0.0, 0.5, 1.0], (1, 60)), draw.choice([0.0, 0.5, 1.0], (1, 60))
    found = outcomes.of(frame(values, base))
    assert found is not None
    assert found.versus is not None
    pairs = frame(values, base).rename({"base_text": "text_b"})
    wanted = winrate.summarise(pairs, (np.sign(values - base) / 2 + 0.5).T, 0, "truth")
    ours = found.versus
    assert ours.win_rate.value == pytest.approx(wanted.win_rate)
    assert ours.win_rate.interval == pytest.approx((wanted.low, wanted.high), abs=0.02)
    assert (ours.wins, ours.losses, ours.p_value) == (wanted.wins, wanted.losses, wanted.p_value)
    assert ours.prompts_needed == wanted.prompts_needed
    assert found.coverage.value == pytest.approx(values.mean())
    assert ours.difference.value == pytest.approx((values - base).mean())
    assert ours.length_controlled is None  # all are equally long


def test_seeds_are_no_further_prompts_in_the_exact_test() -> None:
    values = np.tile([1.0, 1.0, 0.0, 0.5], (3, 1))
    found = outcomes.of(frame(values, np.full((3, 4), 0.5)))
    assert found is not None
    assert found.versus is not None
    assert (found.versus.prompts, found.versus.wins, found.versus.losses) == (4, 2, 1)


def test_the_rate_at_equal_lengths_has_an_interval() -> None:
    draw = np.random.default_rng(2)
    values = draw.choice([0.0, 1.0], (2, 100), p=[0.3, 0.7])
    rows = frame(values, np.full((2, 100), 0.5))
    rows = rows.with_columns(text=pl.Series(["a" * number for number in draw.integers(1, 10, 200)]))
    found = outcomes.of(rows)
    assert found is not None
    assert found.versus is not None
    assert found.versus.length_controlled is not None
    low, high = found.versus.length_controlled.interval
    assert 0.5 < low < found.versus.length_controlled.value < high < 0.9


def test_what_is_not_known_is_left_out() -> None:
    rows = frame(np.full((1, 4), 0.5), np.full((1, 4), 0.5))
    assert outcomes.of(rows.with_columns(value=pl.lit(None, pl.Float64))) is None
    found = outcomes.of(rows.with_columns(base_value=pl.lit(None, pl.Float64)))
    assert found is not None
    assert found.versus is None
