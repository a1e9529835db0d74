"""Whether a number of ours agrees with the paper's, in a plain sentence: the rules and their wording.

A rule reads our interval, never our number alone: what the interval leaves open is said to be open.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Protocol

from analysis.intervals import Estimate
from analysis.trajectories import Fit


class Form(Protocol):
    """How a number is written; a format string is one."""

    def format(self, value: float, /) -> str: ...


@dataclass(frozen=True)
class Points:
    """A difference of two shares: ``+36.9 points``."""

    decimals: int

    def format(self, value: float, /) -> str:
        return f"{100 * value:+.{self.decimals}f} points"


SURE = 0.95
"""How many resamples have to choose the same curve before the choice is called firm."""


class Agreement(StrEnum):
    AGREES = "agrees"
    DIFFERS = "differs"
    OPEN = "cannot be told"
    INCOMPARABLE = "not comparable"
    OURS_ONLY = "not in the paper"


@dataclass(frozen=True)
class Verdict:
    """``sentence`` says what was compared and how it came out."""

    agreement: Agreement
    sentence: str


def shown(ours: Estimate, form: Form) -> str:
    """``43.8% [40.1%, 47.2%]``, in the format ``form``."""
    low, high = ours.interval
    if math.isnan(ours.value):
        return "–"
    return form.format(ours.value) + ("" if math.isnan(low) else f" [{form.format(low)}, {form.format(high)}]")


def same_number(what: str, ours: Estimate, paper: float, form: Form) -> Verdict:
    """For numbers in the same unit: does the paper's lie inside our interval?"""
    low, high = ours.interval
    start = f"{what}: ours is {shown(ours, form)}, the paper's {form.format(paper)}"
    if math.isnan(low):
        return Verdict(Agreement.OPEN, f"{start}; ours has no interval to hold it against.")
    if low <= paper <= high:
        return Verdict(Agreement.AGREES, f"{start}: inside our interval.")
    side = "above" if paper > high else "below"
    return Verdict(Agreement.DIFFERS, f"{start}: {side} our interval.")


def same_side(what: str, ours: Estimate, paper: float, form: Form, level: float = 0.0) -> Verdict:
    """For numbers whose sizes do not compare: is ours on the same side of ``level``, where nothing differs?"""
    low, high = ours.interval
    start = f"{what}: ours is {shown(ours, form)}, the paper's {form.format(paper)}"
    neutral = f"{level:g}"
    if not (low > level or high < level):
        return Verdict(Agreement.OPEN, f"{start}; our interval does not exclude {neutral}, so the side cannot be told.")
    side, other = ("above", "below") if low > level else ("below", "above")
    if (low > level) == (paper > level):
        return Verdict(Agreement.AGREES, f"{start}: both are {side} {neutral}.")
    return Verdict(Agreement.DIFFERS, f"{start}: ours is {side} {neutral}, the paper's {other}.")


def not_significant(what: str, ours: Estimate, paper: float, form: Form, level: float) -> Verdict:
    """For a number of the paper's that it calls not significant: do we show a difference from ``level``?"""
    low, high = ours.interval
    start = f"{what}: ours is {shown(ours, form)}, the paper's {form.format(paper)}, not significant"
    if math.isnan(low):
        return Verdict(Agreement.OPEN, f"{start}; ours has no interval.")
    if low <= level <= high:
        return Verdict(Agreement.AGREES, f"{start}: neither shows a difference from {form.format(level)}.")
    side = "above" if low > level else "below"
    return Verdict(Agreement.DIFFERS, f"{start}: ours is {side} {form.format(level)} beyond its interval.")


def order(what: str, ours: Mapping[str, Estimate], paper: Mapping[str, float]) -> Verdict | None:
    """Are the arms in the paper's order? Every two are compared, resample by resample. None for fewer than two."""
    arms = sorted(set(ours) & set(paper), key=lambda arm: paper[arm])
    alike, reversed_, pairs = 0, list[str](), list(combinations(arms, 2))
    for lower, higher in pairs:
        low, high = (ours[higher] - ours[lower]).interval
        alike += low > 0
        if high < 0:
            reversed_.append(f"{lower} is above {higher}")
    if not pairs:
        return None
    rest = len(pairs) - alike - len(reversed_)
    number = f"{len(pairs)} pairs of arms" if len(pairs) > 1 else "one pair of arms"
    found = [f"{alike} as in the paper", f"{len(reversed_)} the other way round", f"{rest} cannot be told apart"]
    told = f" ({'; '.join(reversed_)})" if reversed_ else ""
    sentence = f"{what}, the order of the arms: of {number}, {', '.join(found)}{told}."
    agreement = Agreement.DIFFERS if reversed_ else Agreement.OPEN if rest else Agreement.AGREES
    return Verdict(agreement, sentence)


def curve(arm: str, fit: Fit, paper: str) -> Verdict:
    """Is the curve that AICc chooses the paper's, do cross-validation and the resamples choose it too?"""
    chosen, other = fit.chosen, fit.cross_validated
    start = f"{arm}: the reward advantage is {chosen.family} by AICc (in {chosen.chosen_share:.0%} of the resamples)"
    start += f" and {other.family} by leaving out {fit.by}; the paper calls it {paper}"
    of_paper = next(found for found in fit.curves if found.family == paper)
    if chosen.family == other.family == paper:
        return Verdict(Agreement.AGREES, f"{start}: the same.")
    if paper in (chosen.family, other.family) or of_paper.chosen_share > 1 - SURE:
        share = f"{of_paper.chosen_share:.0%}"
        return Verdict(Agreement.OPEN, f"{start}, as {share} of the resamples do: the choice is not firm.")
    return Verdict(Agreement.DIFFERS, f"{start}, which {of_paper.chosen_share:.0%} of the resamples choose.")


def claim(what: str, holds: bool | None, found: str) -> Verdict:
    """For what the paper says in words. ``holds`` is None where our numbers leave it open."""
    agreement = Agreement.OPEN if holds is None else Agreement.AGREES if holds else Agreement.DIFFERS
    ending = {None: "so it cannot be told", True: "as the paper says", False: "which is not what the paper says"}[holds]
    return Verdict(agreement, f"{what}: {found}, {ending}.")


def incomparable(what: str, ours: Estimate, form: Form, why: str) -> Verdict:
    return Verdict(Agreement.INCOMPARABLE, f"{what}: ours is {shown(ours, form)}; not comparable, {why}.")


def ours_only(what: str, ours: Estimate, form: Form) -> Verdict:
    return Verdict(Agreement.OURS_ONLY, f"{what}: ours is {shown(ours, form)}; the paper has no such number.")


def counted(verdicts: Sequence[Verdict]) -> str:
    """How the paper's claims came out, in a sentence."""
    times = {agreement: sum(v.agreement == agreement for v in verdicts) for agreement in Agreement}
    return (
        f"Of {len(verdicts)} claims of the paper that these runs can speak to, {times[Agreement.AGREES]} agree, "
        f"{times[Agreement.DIFFERS]} differ, and {times[Agreement.OPEN]} cannot be told from so little."
    )
