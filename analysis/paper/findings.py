"""A number of ours beside the paper's: as data, as a row of a table, as a sentence."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis import page
from analysis.intervals import Estimate
from analysis.paper.verdicts import Form, Verdict, shown

HEAD = ("What", "Ours, 95% interval", "Paper", "Verdict")


@dataclass(frozen=True, eq=False)
class Finding:
    """``arm`` is "" where a number is not of one. ``claim``: the paper makes a point of it.

    ``ours`` is words, or None, for a claim that no single number decides; ``paper`` is in the unit of ours, or words.
    """

    where: str
    quantity: str
    arm: str
    ours: Estimate | str | None
    paper: float | str | None
    form: Form
    verdict: Verdict
    claim: bool = False

    def row(self) -> list[str]:
        paper = self.paper if isinstance(self.paper, str) else self._told(self.paper)
        ours = shown(self.ours, self.form) if isinstance(self.ours, Estimate) else self.ours or "–"
        name = f"{self.quantity}: {self.arm}" if self.arm else self.quantity
        verdict = ": ".join(filter(None, [str(self.verdict.agreement), self.verdict.reason]))
        return [name, ours, paper, verdict]

    def _told(self, number: float | None) -> str:
        return "–" if number is None else self.form.format(number)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "where": self.where,
            "quantity": self.quantity,
            "arm": self.arm or None,
            **(
                numbers(self.ours)
                if isinstance(self.ours, Estimate)
                else {"value": self.ours, "low": None, "high": None}
            ),
            "paper": self.paper,
            "agreement": str(self.verdict.agreement),
            "sentence": self.verdict.sentence,
            "claim": self.claim,
        }


@dataclass(frozen=True)
class Part:
    """A section of the page: its HTML, its findings, and further numbers by name."""

    html: str
    findings: list[Finding] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)


def in_paper(ours: Collection[str], paper: Mapping[str, float]) -> str:
    """The paper's order of the arms that we have: ``wim-fixed < numerical``."""
    return " < ".join(sorted(set(ours) & set(paper), key=lambda arm: paper[arm]))


def numbers(estimate: Estimate) -> dict[str, float | None]:
    """``value``, ``low`` and ``high``; null where there is none."""
    low, high = estimate.interval
    return {
        name: number if math.isfinite(number) else None
        for name, number in (("value", estimate.value), ("low", low), ("high", high))
    }


def table(findings: Sequence[Finding]) -> str:
    """A row for each finding; "" without any."""
    return page.table(HEAD, [finding.row() for finding in findings], prose=True) if findings else ""
