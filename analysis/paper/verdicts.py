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
from analysis.paper.trajectories import Fit

POINTS = " points"


class Form(Protocol):
    """How a number is written; a format string is one."""

    def format(self, value: float, /) -> str: ...


@dataclass(frozen=True)
class Points:
    """A difference of two shares in percentage points: ``+36.9 points``."""

    decimals: int

    def format(self, value: float, /) -> str:
        return f"{100 * value:+.{self.decimals}f}{POINTS}"


@dataclass(frozen=True)
class Signed:
    """``-0.0105`` and ``-61.27``: as many digits as a number of that size needs."""

    def format(self, value: float, /) -> str:
        return f"{value:+.4f}" if abs(value) < 10 else f"{value:+.2f}"


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
    """``reason`` is for a table's cell, ``sentence`` says what was compared and how it came out."""

    agreement: Agreement
    reason: str
    sentence: str


def shown(ours: Estimate, form: Form) -> str:
    """``43.8% [40.1%, 47.2%]``; a number without an interval stands alone."""
    low, high = ours.interval
    if math.isnan(ours.value):
        return "–"
    value, *ends = (form.format(number).removesuffix(POINTS) for number in (ours.value, low, high))
    unit = POINTS if form.format(0.0).endswith(POINTS) else ""
    return value + ("" if math.isnan(low) else f" [{', '.join(ends)}]") + unit


def _verdict(agreement: Agreement, what: str, ours: Estimate, paper: float, form: Form, reason: str) -> Verdict:
    start = f"{what}: ours is {shown(ours, form)}, the paper's {form.format(paper)}"
    return Verdict(agreement, reason, f"{start}: {reason}.")


def same_number(what: str, ours: Estimate, paper: float, form: Form) -> Verdict:
    """For numbers in the same unit: does the paper's lie inside our interval?"""
    low, high = ours.interval
    if math.isnan(low):
        agreement, reason = Agreement.OPEN, "ours has no interval"
    elif low <= paper <= high:
        agreement, reason = Agreement.AGREES, "the paper's is inside our interval"
    else:
        side = "above" if paper > high else "below"
        agreement, reason = Agreement.DIFFERS, f"the paper's is {side} our interval"
    return _verdict(agreement, what, ours, paper, form, reason)


def same_side(what: str, ours: Estimate, paper: float, form: Form, level: float = 0.0) -> Verdict:
    """For numbers whose sizes do not compare: is ours on the same side of ``level``, where nothing differs?"""
    low, high = ours.interval
    side, other = ("above", "below") if low > level else ("below", "above")
    if not (low > level or high < level):
        agreement, reason = Agreement.OPEN, f"our interval does not exclude {level:g}"
    elif (low > level) == (paper > level):
        agreement, reason = Agreement.AGREES, f"both are {side} {level:g}"
    else:
        agreement, reason = Agreement.DIFFERS, f"ours is {side} {level:g}, the paper's {other}"
    return _verdict(agreement, what, ours, paper, form, reason)


def not_significant(what: str, ours: Estimate, paper: float, form: Form, level: float) -> Verdict:
    """For a number that the paper calls not significant: do we show a difference from ``level``?"""
    low, high = ours.interval
    neutral = form.format(level)
    if math.isnan(low):
        agreement, reason = Agreement.OPEN, "ours has no interval"
    elif low <= level <= high:
        agreement, reason = Agreement.AGREES, f"neither shows a difference from {neutral}"
    else:
        side = "above" if low > level else "below"
        agreement, reason = Agreement.DIFFERS, f"ours is {side} {neutral}, the paper's not significantly so"
    return _verdict(agreement, what, ours, paper, form, reason)


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
    told = f" ({'; '.join(reversed_)})" if reversed_ else ""
    reason = f"of {number} {alike} as in the paper, {len(reversed_)} the other way round, {rest} not told apart"
    agreement = Agreement.DIFFERS if reversed_ else Agreement.OPEN if rest else Agreement.AGREES
    return Verdict(agreement, reason, f"{what}, the order of the arms: {reason}{told}.")


def curve(arm: str, fit: Fit, paper: str) -> Verdict:
    """Is the curve that AICc chooses the paper's, do cross-validation and the resamples choose it too?"""
    chosen, other = fit.chosen, fit.cross_validated
    start = f"{arm}: the reward advantage is {chosen.family} by AICc (in {chosen.chosen_share:.0%} of the resamples)"
    start += f" and {other.family} by leaving out {fit.by}; the paper calls it {paper}"
    share = next(found.chosen_share for found in fit.curves if found.family == paper)
    if chosen.family == other.family == paper:
        agreement, reason = Agreement.AGREES, "the same" + ("" if share >= SURE else ", but not firm")
    elif paper in (chosen.family, other.family) or share > 1 - SURE:
        agreement, reason = Agreement.OPEN, f"{share:.0%} of the resamples choose that, so the choice is not firm"
    else:
        agreement, reason = Agreement.DIFFERS, f"{share:.0%} of the resamples choose that"
    return Verdict(agreement, reason, f"{start}: {reason}.")


def claim(what: str, holds: bool | None, found: str) -> Verdict:
    """For what the paper says in words. ``holds`` is None where our numbers leave it open."""
    agreement = Agreement.OPEN if holds is None else Agreement.AGREES if holds else Agreement.DIFFERS
    ending = {None: "so it cannot be told", True: "as the paper says", False: "which is not what the paper says"}[holds]
    return Verdict(agreement, "", f"{what}: {found}, {ending}.")


def incomparable(what: str, ours: Estimate, form: Form, why: str) -> Verdict:
    return Verdict(Agreement.INCOMPARABLE, why, f"{what}: ours is {shown(ours, form)}; not comparable, {why}.")


def ours_only(what: str, ours: Estimate, form: Form) -> Verdict:
    return Verdict(Agreement.OURS_ONLY, "", f"{what}: ours is {shown(ours, form)}; the paper has no such number.")


def counted(verdicts: Sequence[Verdict]) -> str:
    """How the paper's claims came out, in a sentence."""
    times = {agreement: sum(v.agreement == agreement for v in verdicts) for agreement in Agreement}
    return (
        f"Of {len(verdicts)} claims of the paper that these runs can speak to, {times[Agreement.AGREES]} agree, "
        f"{times[Agreement.DIFFERS]} differ, and {times[Agreement.OPEN]} cannot be told from so little."
    )
