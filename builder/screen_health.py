"""The health of ratings on the screen: a line of figures for each run, and the warnings in words."""

from collections.abc import Iterable, Mapping
from typing import Any

from builder.health import limits

LEGEND = (
    "~ is a rank correlation within prompts, letters the length of the completion, alpha Krippendorff's over askings "
    "(the lowest of the judges); docs/health.md"
)


def rows(stats: Mapping[str, Any]) -> list[list[str]]:
    """A head and a row for each run; none where no run has measured its health."""
    cells = {run: _cells(summary["health"]) for run, summary in stats.items() if "health" in summary}
    head = [["health", "", *found] for found in list(cells.values())[:1]]
    return head + [[run, "", *found.values()] for run, found in cells.items()]


def warned(stats: Mapping[str, Any]) -> list[str]:
    """A line for each warning."""
    return [f"warning: {sentence}" for sentence in limits.told(stats)]


def _cells(health: Mapping[str, Any]) -> dict[str, str]:
    letters, alphas = health["length"]["completion"], health["retest"].values()
    return {
        "number~letters": correlation(letters["numerical"]),
        "WIM~letters": correlation(letters["wim"]),
        "reward~letters": correlation(letters["reward"]),
        "WIM~number": correlation(health["words_and_number"]),
        "generic": share(health["generic"]["share"]),
        "quoting": share(health["quotes"]["share"]),
        "alpha number": lowest(found["rating"]["alpha"] for found in alphas),
        "alpha WIM": lowest(found["wim"]["alpha"] for found in alphas),
        "WIM~embedder": lowest(found["within"] for found in health.get("embedders", {}).values()),
        "unreadable": share(of_all(health["judges"], "unreadable")),
        "placeholder": share(of_all(health["judges"], "placeholder")),
    }


def correlation(found: Mapping[str, Any], where: str = "within") -> str:
    """Signed, or a dash."""
    return "-" if found[where] is None else f"{found[where]:+.2f}"


def share(value: float | None) -> str:
    """In percent, or a dash."""
    return "-" if value is None else f"{value:.1%}"


def lowest(values: Iterable[float | None]) -> str:
    """The lowest of those that are known."""
    return min((f"{value:+.2f}" for value in values if value is not None), key=float, default="-")


def of_all(judges: Mapping[str, Mapping[str, int]], kind: str) -> float | None:
    """The share of a kind among the judgements of all judges."""
    total = sum(counts["judgements"] for counts in judges.values())
    return sum(counts[kind] for counts in judges.values()) / total if total else None
