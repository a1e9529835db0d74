"""A verdict is read from the interval; what it leaves open is called open."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.intervals import Estimate
from analysis.paper import trajectories, verdicts
from analysis.paper.verdicts import Agreement, Points

FORM = "{:.2f}"


def between(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, np.linspace(low, high, 2001))


NOTHING = Estimate(1.0, np.full(10, np.nan))


@pytest.mark.parametrize(
    ("ours", "paper", "agreement", "reason"),
    [
        (between(1, 3), 2.0, Agreement.AGREES, "inside our interval"),
        (between(1, 3), 4.0, Agreement.DIFFERS, "the paper's is above our interval"),
        (between(1, 3), 0.0, Agreement.DIFFERS, "the paper's is below our interval"),
        (NOTHING, 1.0, Agreement.OPEN, "no interval"),
    ],
)
def test_the_same_number(ours: Estimate, paper: float, agreement: Agreement, reason: str) -> None:
    verdict = verdicts.same_number("Tie rate", ours, paper, FORM)
    assert verdict.agreement == agreement
    assert reason in verdict.reason
    assert verdict.sentence.startswith("Tie rate: ours is ")
    assert verdict.sentence.endswith(f"{verdict.reason}.")


@pytest.mark.parametrize(
    ("ours", "paper", "level", "agreement", "reason"),
    [
        (between(-3, -1), -50.0, 0.0, Agreement.AGREES, "both are below 0"),
        (between(-3, 1), -50.0, 0.0, Agreement.OPEN, "does not exclude 0"),
        (between(1, 3), -50.0, 0.0, Agreement.DIFFERS, "ours is above 0, the paper's below"),
        (between(0.4, 0.8), 1.35, 1.0, Agreement.DIFFERS, "ours is below 1, the paper's above"),
        (between(0.0, 0.0), -1.0, 0.0, Agreement.OPEN, "does not exclude 0"),
        (NOTHING, 1.0, 0.0, Agreement.OPEN, "does not exclude 0"),
    ],
)
def test_the_same_side(ours: Estimate, paper: float, level: float, agreement: Agreement, reason: str) -> None:
    verdict = verdicts.same_side("Loss", ours, paper, FORM, level)
    assert verdict.agreement == agreement
    assert reason in verdict.sentence


def test_what_is_not_significant_agrees_only_with_no_difference() -> None:
    none, some = (
        verdicts.not_significant("Win rate", found, 0.52, "{:.1%}", 0.5)
        for found in (between(0.45, 0.6), between(0.6, 0.8))
    )
    assert none.agreement == Agreement.AGREES
    assert "neither shows a difference from 50.0%" in none.sentence
    assert some.agreement == Agreement.DIFFERS
    assert "[60.5%, 79.5%]" in some.sentence


def test_the_order_of_arms_compares_every_two() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 2000)
    arms = {name: Estimate(value, value + noise) for name, value in (("a", 1.0), ("b", 2.0), ("c", 3.0))}
    paper = {"a": 10.0, "b": 20.0, "c": 30.0}
    same = verdicts.order("Loss", arms, paper)
    assert same is not None
    assert same.agreement == Agreement.AGREES
    assert "of 3 pairs of arms 3 as in the paper" in same.sentence
    turned = verdicts.order("Loss", arms, paper | {"c": 15.0})
    assert turned is not None
    assert turned.agreement == Agreement.DIFFERS
    assert "(c is above b)" in turned.sentence
    blurred = verdicts.order("Loss", arms | {"b": Estimate(1.0, 1.0 + noise[::-1])}, paper)
    assert blurred is not None
    assert blurred.agreement == Agreement.OPEN
    assert "1 not told apart" in blurred.sentence
    assert verdicts.order("Loss", {"a": arms["a"], "mine": arms["b"]}, paper) is None


def test_a_curve_agrees_only_where_both_choices_are_the_papers() -> None:
    steps = np.arange(1.0, 61)
    fit = trajectories.fit(np.random.default_rng(2).normal(0, 0.01, (3, 60)) + 0.1 * np.log(steps))
    assert fit is not None
    assert verdicts.curve("wim-moving", fit, "logarithmic").agreement == Agreement.AGREES
    assert verdicts.curve("wim-moving", fit, "constant").agreement == Agreement.DIFFERS
    unsure = replace(fit, curves=tuple(replace(curve, chosen_share=0.25) for curve in fit.curves))
    verdict = verdicts.curve("wim-moving", unsure, "constant")
    assert verdict.agreement == Agreement.OPEN
    assert "25% of the resamples choose that, so the choice is not firm" in verdict.sentence


def test_numbers_are_shown_with_their_interval_and_unit() -> None:
    assert verdicts.shown(between(-0.1, 0.3), Points(1)) == "+10.0 [-9.0, +29.0] points"
    assert verdicts.shown(NOTHING, FORM) == "1.00"
    assert verdicts.shown(Estimate(float("nan"), np.empty(0)), FORM) == "–"


def test_claims_are_counted() -> None:
    said = [verdicts.claim("It is so", holds, "we looked") for holds in (True, True, False, None)]
    assert "Of 4 claims" in verdicts.counted(said)
    assert "2 agree, 1 differ, and 1 cannot be told" in verdicts.counted(said)
    assert [verdict.sentence for verdict in said[1:]] == [
        "It is so: we looked, as the paper says.",
        "It is so: we looked, which is not what the paper says.",
        "It is so: we looked, so it cannot be told.",
    ]
