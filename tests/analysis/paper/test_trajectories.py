"""The right curve is chosen and its coefficients are found, with intervals; what is not firm is not called firm."""

import numpy as np
import pytest

from analysis.paper import trajectories

STEPS = np.arange(1.0, 61)
TRUE = {
    "constant": (0.1,),
    "logarithmic": (0.1, 0.05),
    "linear": (0.1, 0.004),
    "quadratic": (0.1, 0.004, 5e-5),
}


def rows(family: str, noise: float, seeds: int = 3, draw: int = 0) -> np.ndarray:
    values = trajectories.design(family, STEPS) @ np.array(TRUE[family])
    return np.asarray(values + np.random.default_rng(draw).normal(0, noise, (seeds, len(STEPS))))


def fitted(family: str, noise: float, seeds: int = 3, draw: int = 0) -> trajectories.Fit:
    fit = trajectories.fit(rows(family, noise, seeds, draw))
    assert fit is not None
    return fit


@pytest.mark.parametrize("family", TRUE)
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_curve_and_its_coefficients_are_found(family: str, seeds: int) -> None:
    fit = fitted(family, 0.01, seeds, draw=1)
    assert fit.chosen.family == family
    assert fit.by == ("seeds" if seeds > 1 else "blocks of steps")
    for found, (low, high), true in zip(fit.chosen.coefficients, fit.chosen.intervals, TRUE[family], strict=True):
        width = high - low
        assert found == pytest.approx(true, abs=width)
        assert low - width / 2 <= true <= high + width / 2
    assert sum(curve.chosen_share for curve in fit.curves) == pytest.approx(1)


def test_the_choice_is_right_by_both_criteria_in_most_experiments() -> None:
    """Cross-validation, which does not count parameters, takes too rich a curve more often."""
    for family in TRUE:
        fits = [fitted(family, 0.02, draw=draw) for draw in range(12)]
        assert sum(fit.chosen.family == family for fit in fits) >= 9, family
        assert sum(fit.cross_validated.family == family for fit in fits) >= 7, family


def test_intervals_of_coefficients_cover() -> None:
    """60 experiments: the slope's interval holds the true slope in most; three seeds make it no wider than it is."""
    covered = 0
    for draw in range(60):
        low, high = fitted("linear", 0.02, draw=draw).curves[2].intervals[1]
        covered += low <= TRUE["linear"][1] <= high
    assert covered >= 52


def test_without_noise_the_fit_is_exact_and_firm() -> None:
    for family, true in TRUE.items():
        fit = fitted(family, 0.0)
        assert fit.chosen.coefficients == pytest.approx(true)
        assert fit.chosen.chosen_share > 0.99
        assert fit.chosen.at(STEPS) == pytest.approx(rows(family, 0.0)[0])


def test_a_weak_trend_is_not_called_firm() -> None:
    noisy = rows("constant", 0.02, draw=5) + 0.0004 * STEPS
    fit = trajectories.fit(noisy)
    assert fit is not None
    assert max(curve.chosen_share for curve in fit.curves) < 0.95


def test_autocorrelation_of_what_is_left_is_told() -> None:
    noise = np.random.default_rng(6).normal(0, 0.02, 2000)
    smooth = np.convolve(noise, np.ones(8) / 8, "valid")[None]
    red, white = trajectories.fit(smooth), trajectories.fit(noise[None])
    assert red is not None
    assert white is not None
    assert red.autocorrelation > 0.7 > 0.1 > abs(white.autocorrelation)


def test_a_long_training_is_fitted_in_stretches() -> None:
    steps = np.arange(1.0, 9_000)
    fit = trajectories.fit((0.1 + 1e-5 * steps + np.random.default_rng(7).normal(0, 0.01, len(steps)))[None])
    assert fit is not None
    assert fit.curves[2].coefficients == pytest.approx((0.1, 1e-5), rel=0.02)


def test_too_few_steps_are_not_fitted_and_equal_ones_are_constant() -> None:
    assert trajectories.fit(np.ones((3, 6))) is None
    flat = trajectories.fit(np.ones((2, 7)))
    assert flat is not None
    assert flat.chosen.family == "constant"
    assert flat.chosen.r2 is None
