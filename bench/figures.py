"""What a measurement gives: figures with the bound each must keep, and what every way took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.harness import Cost


@dataclass(frozen=True)
class Figure:
    """A measured number. ``guarded``: the small run compares it with the recorded one; never a time."""

    what: str
    value: float
    unit: str = "times"
    at_least: float | None = None
    at_most: float | None = None
    guarded: bool = False

    @property
    def holds(self) -> bool | None:
        """None without a bound."""
        if self.at_least is None and self.at_most is None:
            return None
        low, high = self.at_least, self.at_most
        return (low is None or self.value >= low) and (high is None or self.value <= high)


@dataclass(frozen=True)
class Measured:
    """``settings``: what was measured, in a few words by name; ``costs`` of each way, turn by turn."""

    figures: Sequence[Figure]
    settings: Mapping[str, Any]
    costs: Mapping[str, Sequence[Cost]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "settings": dict(self.settings),
            "figures": [
                {name: value for name, value in vars(figure).items() if value not in (None, False)}
                | ({} if figure.holds is None else {"holds": figure.holds})
                for figure in self.figures
            ],
            "costs": {way: _middle(costs) for way, costs in self.costs.items()},
        }


def _middle(costs: Sequence[Cost]) -> dict[str, Any]:
    """Medians, and every turn's CPU seconds."""
    middle = {name: round(median(getattr(cost, name) for cost in costs), 3) for name in ("wall", "cpu", "peak")}
    return middle | {"cpu_turns": [round(cost.cpu, 3) for cost in costs]}


GROSS = 2.0
"""So many times worse than recorded is a loss."""


def losses(figures: Sequence[Figure], recorded: Mapping[str, float]) -> list[str]:
    """What is grossly worse than it was: one line for each guarded figure that is."""
    told = []
    for figure in figures:
        before = recorded.get(figure.what)
        if not figure.guarded or before is None:
            continue
        more_is_better = figure.at_most is None
        worse = before / figure.value if more_is_better else figure.value / before
        if worse > GROSS:
            told.append(f"{figure.what}: {figure.value:.2f}, recorded {before:.2f}")
    return told
