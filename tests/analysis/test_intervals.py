"""The pigeonhole bootstrap covers where seeds and prompts are crossed, and ratios are ratios of sums."""

import numpy as np
import pytest

from analysis import intervals


def crossed(generator: np.random.Generator, seeds: int, prompts: int) -> np.ndarray:
    """[seeds, prompts] around 0: an effect of the seed, one of the prompt, and one of both."""
    by_seed, by_prompt = generator.normal(0, 0.5, (seeds, 1)), generator.normal(0, 1, (1, prompts))
    return by_seed + by_prompt + generator.normal(0, 0.5, (seeds, prompts))


def test_intervals_cover_the_mean_of_crossed_effects() -> None:
    """400 experiments of 12 seeds and 40 prompts: 95% are wanted; percentiles of few seeds give some less."""
    generator = np.random.default_rng(1)
    covered, plain = 0, 0
    for number in range(400):
        values = crossed(generator, 12, 40)
        found = intervals.pigeonhole({"value": values, "n": np.ones_like(values)}, number % 2, 400)
        low, high = found.ratio("value", "n").interval
        covered += low <= 0 <= high
        error = 1.96 * values.std() / np.sqrt(values.size)
        plain += abs(values.mean()) <= error
    assert 0.89 <= covered / 400 <= 0.99
    assert plain / 400 < 0.6  # as if all cells were independent


def test_with_one_seed_the_interval_is_the_bootstraps_over_prompts() -> None:
    values = np.random.default_rng(2).normal(3, 1, (1, 200))
    low, high = intervals.pigeonhole({"v": values, "n": np.ones_like(values)}).ratio("v", "n").interval
    error = 1.96 * values.std() / np.sqrt(200)
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.03)


def test_a_ratio_is_that_of_the_sums_in_each_resample() -> None:
    above, below = np.array([[1.0, 0.0, 4.0], [2.0, 0.0, 0.0]]), np.array([[2.0, 0.0, 5.0], [4.0, 1.0, 0.0]])
    found = intervals.pigeonhole({"above": above, "below": below})
    ratio = found.ratio("above", "below")
    assert ratio.value == above.sum() / below.sum()
    with np.errstate(invalid="ignore"):
        assert ratio.draws == pytest.approx(found.draws[0] / found.draws[1], nan_ok=True)
    assert np.isfinite(ratio.interval).all()  # resamples without anything below are left out


def test_what_shares_its_shape_shares_its_draws() -> None:
    values = np.random.default_rng(3).normal(0, 1, (3, 50))
    one, other = (intervals.pigeonhole({"v": v, "n": np.ones_like(v)}).ratio("v", "n") for v in (values, values + 1))
    difference = other - one
    assert difference.interval == pytest.approx((1.0, 1.0))
    assert (other / one).value == pytest.approx((values.mean() + 1) / values.mean())
    assert (one / 2.0).interval == pytest.approx(tuple(end / 2 for end in one.interval))


def test_nothing_to_resample_has_no_interval() -> None:
    nothing = intervals.pigeonhole({"v": np.zeros((1, 0)), "n": np.zeros((1, 0))}).ratio("v", "n")
    assert np.isnan([nothing.value, *nothing.interval]).all()


@pytest.mark.parametrize(("seeds", "said"), [(1, "do not cover"), (3, "too narrow"), (5, "")])
def test_few_seeds_are_told(seeds: int, said: str) -> None:
    assert said in intervals.caveat(seeds)
    assert bool(said) == bool(intervals.caveat(seeds))
