"""The audit as one HTML page that opens offline."""

from collections.abc import Iterable, Mapping
from typing import Any

from analysis import page
from analysis.audit import charts, findings, screen
from analysis.audit.curves import LENGTHS

Result = Mapping[str, Any]


def render(result: Result) -> str:
    """The whole page of an audit's result."""
    parts = [_words(result), _table(result), _agreement(result), _curves(result), _mixtures(result), _sources(result)]
    return page.render(f"Audit of {result['run']}", [*parts, _fit(result), _left_out(result)])


def _words(result: Result) -> str:
    return page.sentences([*(f"Warning: {said}" for said in result["warnings"]), *findings.summary(result)])


def _table(result: Result) -> str:
    ratings = result["ratings"]
    names = screen.ordered(ratings, list(ratings))
    own = [screen.row(name, ratings[name]) for name in names if ratings[name]["kind"] != "baseline"]
    below = [[name, *screen.row(name, ratings[name])[1:]] for name in names if ratings[name]["kind"] == "baseline"]
    return page.section(
        "Every rating against the same truth",
        "Agreement is the share of pairs that a rating orders as the truth does, a tie counted half, with its 95% "
        "interval over prompts. Alike: pairs whose lengths differ by less than 25%. Over numerical: the difference "
        "from the judge's number on the same pairs. Safer: agreement above the median delta less that below it.",
        page.table(screen.HEAD, own) if own else "",
        page.table(["baseline", *screen.HEAD[1:]], below) if below else "",
    )


def _agreement(result: Result) -> str:
    ratings = result["ratings"]
    names = screen.shown(ratings, result["method"], result["recommended"]["rating"])
    ceiling = result["ceiling"]["agreement"] if result["ceiling"] else None
    said = "; dashed: one person with the majority of the others" if ceiling else ""
    entries = {name: ratings[name] for name in names if ratings[name]["low"] is not None}
    if not entries:
        return ""
    chart = charts.agreement(entries, ceiling)
    return page.figure(chart, "Agreement of ratings, control and baselines", f"95% intervals; line: chance{said}")


def _curves(result: Result) -> str:
    entries = _main(result)
    figures = []
    if any(entry["curve"] for entry in entries.values()):
        figures.append(
            page.figure(charts.by_delta(entries), "Does a larger delta mean a safer label?", "95% intervals")
        )
    if any(entry["by_length"] for entry in entries.values()):
        note = "what only follows length is right on the right and wrong on the left"
        figures.append(page.figure(charts.by_length(entries, LENGTHS), "By difference in length", note))
    return page.section(
        "Where they agree", "Shorter and longer: by at least a quarter; far: by half.", page.grid(figures)
    )


def _mixtures(result: Result) -> str:
    ratings = result["ratings"]
    zetas = {"numerical": 0.0, "wim": 1.0}
    zetas |= {name: entry["set"]["zeta"] for name, entry in ratings.items() if "zeta" in entry["set"]}
    points = [
        {"zeta": zeta, "rating": side} | {key: part[key] for key in ("agreement", "low", "high", "pairs")}
        for name, zeta in sorted(zetas.items(), key=lambda each: each[1])
        if name in ratings
        for side, part in zip(charts.SIDES, (ratings[name], ratings[name]["matched"]), strict=True)
        if part["low"] is not None
    ]
    if len(zetas) < 3 or not points:
        return ""
    return page.figure(charts.mixtures(points), "The mixture of number and wim", "95% intervals")


def _sources(result: Result) -> str:
    entries = _main(result)
    shares = {name: {part["source"]: part for part in entry["by_source"]} for name, entry in entries.items()}
    sources = list(dict.fromkeys(source for parts in shares.values() for source in parts))
    rows = [
        [source, f"{max(parts[source]['pairs'] for parts in shares.values() if source in parts):,}"]
        + [findings.interval(parts.get(source, {}), "agreement") for parts in shares.values()]
        for source in sources
    ]
    if not rows:
        return ""
    return page.section("By source", "Agreement and its 95% interval.", page.table(["source", "pairs", *entries], rows))


def _fit(result: Result) -> str:
    fit = result.get("fit")
    if not fit:
        return ""
    words = page.sentences(findings.fitted(fit))
    return page.section("Fitted", "What the fit chose.", words, page.passage("The lines for params.yaml", fit["yaml"]))


def _left_out(result: Result) -> str:
    reasons = screen.left_out(result["left_out"])
    table = page.table(["what", "why"], reasons, words=2, prose=True) if reasons else ""
    return page.section("Left out", "What could not be computed from the run.", table)


def _main(result: Result) -> dict[str, Any]:
    """The few that a chart can show side by side."""
    ratings = result["ratings"]
    wanted: Iterable[str | None] = (
        "numerical", "wim", "swapped", result["method"], result["recommended"]["rating"], "calibrated", "length",
    )  # fmt: skip
    return {name: ratings[name] for name in dict.fromkeys(wanted) if name in ratings and name}
