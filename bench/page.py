"""The table in docs/benchmarks.md, between two marks; what stands around them stays."""

from collections.abc import Mapping
from typing import Any

from bench.harness import ROOT

PAGE = ROOT / "docs/benchmarks.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def write(results: Mapping[str, Any]) -> None:
    """Replace what stands between the marks."""
    before, rest = PAGE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(before + BEGIN + "\n" + render(results) + END + after)


def render(results: Mapping[str, Any]) -> str:
    """Markdown of all results: machines and versions, figures beside their bounds, what each way took."""
    lines = _machines(results)
    lines += ["", "| | what | measured | must be | |", "|---|---|---|---|---|"]
    for name, result in results.items():
        lines += [f"| {name} | " + " | ".join(cells(figure)) + " |" for figure in result["figures"]]
    lines += ["", "What each way took (the median of its turns; CPU seconds of all cores, MiB of the largest process):"]
    lines += ["", "| | way | seconds | CPU seconds | MiB |", "|---|---|---|---|---|"]
    for name, result in results.items():
        for way, cost in result["costs"].items():
            lines.append(f"| {name} | {way} | {cost['wall']:,.2f} | {cost['cpu']:,.2f} | {cost['peak']:,.0f} |")
    lines += ["", "With:", ""]
    for name, result in results.items():
        lines.append(f"- {name}: " + ", ".join(f"{key} {_told(value)}" for key, value in result["settings"].items()))
    return "\n".join(lines) + "\n"


def cells(figure: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Of one figure: what, measured, its bound, and whether it holds."""
    unit = figure.get("unit", "times")
    bounds = [("at least", figure.get("at_least")), ("at most", figure.get("at_most"))]
    bound = ", ".join(f"{word} {_number(limit)}" for word, limit in bounds if limit is not None)
    holds = {None: "", True: "holds", False: "**does not hold**"}[figure.get("holds")]
    return figure["what"], f"{_number(figure['value'])} {unit}".strip(), bound, holds


def _number(value: float) -> str:
    if value and abs(value) < 0.001:
        return f"{value:.0e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _told(value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(map(_told, value))
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _machines(results: Mapping[str, Any]) -> list[str]:
    """One line for each machine and set of versions, with the measurements that were made there."""
    places: dict[str, list[str]] = {}
    loads: dict[str, list[float]] = {}
    for name, result in results.items():
        machine = result["machine"]
        versions = ", ".join(f"{library} {version}" for library, version in result["versions"].items())
        about = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"
        place = f"{about}; {versions}"
        places.setdefault(place, []).append(name)
        loads.setdefault(place, []).append(machine["load"])
    return [
        f"{', '.join(names)}: {place}. Load before a measurement: {min(loads[place])} to {max(loads[place])}.\n"
        for place, names in places.items()
    ]
