"""The report's rounds and arms side by side: a row for each run, and what moves from round to round."""

from collections import Counter
from collections.abc import Callable, Sequence

import polars as pl

from analysis import page
from analysis.report import charts
from analysis.report.summary import moves
from analysis.runs import Run
from builder import tables
from builder.streams import spans

Value = Callable[[Run], float | None]


def section(runs: Sequence[Run]) -> str:
    """ "" of one run, which has nothing beside it."""
    if len(runs) < 2:
        return ""
    lengths = {run.label: _length(run) for run in runs}
    columns: dict[str, tuple[Value, str]] = {
        "Pairs": (lambda run: run.stats["pairs"], "{:,.0f}"),
        "Number ties": (_of("numerical", "tie_rate"), "{:.1%}"),
        "WIM ties": (_of("wim", "tie_rate"), "{:.1%}"),
        "Mean number": (_of("numerical", "mean"), "{:.2f}"),
        "Mean WIM": (_of("wim", "mean"), "{:.2f}"),
        "Nothing missing": (_nothing, "{:.1%}"),
        "Letters": (lambda run: lengths[run.label], "{:,.0f}"),
        "Coverage after": (lambda run: run.evaluation["mean"] if run.evaluation else None, "{:.1%}"),
    }
    known = {name: column for name, column in columns.items() if any(column[0](run) is not None for run in runs)}
    several = len({run.round for run in runs}) > 1
    rows = [[run.arm, str(run.round), *(_cell(value(run), form) for value, form in known.values())] for run in runs]
    note = (
        "Ties are of judged pairs, means on each rating's own scale (WIM from 0 to 10), letters the median length of a "
        "completion."
    )
    if "Coverage after" in known:
        note += " Coverage is of held-out prompts, after the round's training."
    figures = _figures(runs, known) if several else []
    return page.section("Rounds and arms", note, page.table(["Arm", "Round", *known], rows), page.grid(figures))


def _figures(runs: Sequence[Run], columns: dict[str, tuple[Value, str]]) -> list[str]:
    arms = list(dict.fromkeys(run.arm for run in runs))
    titles = {"Mean WIM": "Mean WIM", "Mean number": "Mean of the judge's number", "Nothing missing": "Nothing missing"}
    titles |= {"Letters": "Median letters of a completion"}
    figures = []
    for name, title in titles.items():
        points = [(run.arm, run.round, columns[name][0](run)) for run in runs] if name in columns else []
        known = [point for point in points if point[2] is not None]
        if known:
            frame = pl.DataFrame(known, schema={"arm": pl.String, "round": pl.Int32, "value": pl.Float64}, orient="row")
            percent = columns[name][1].endswith("%}")
            chart = charts.over_rounds(frame, arms, percent)
            figures.append(page.figure(chart, title, _moved(frame, arms, columns[name][1])))
    return figures


def _moved(points: pl.DataFrame, arms: Sequence[str], form: str) -> str:
    """From the first to the last round, arm by arm, in a sentence."""
    rows = {arm: points.filter(pl.col("arm") == arm).sort("round")["value"] for arm in arms}
    ends = {arm: (float(values[0]), float(values[-1])) for arm, values in rows.items() if len(values) > 1}
    return f"First to last round: {moves(ends, form)}." if ends else ""


def _of(method: str, name: str) -> Value:
    def value(run: Run) -> float | None:
        found: float | None = run.stats["methods"][method][name]
        return found

    return value


def _nothing(run: Run) -> float | None:
    """The share of judgements that say that nothing is missing."""
    said = run.stats["judgements"]
    heard = said["missing"] + said["nothing"]
    return said["nothing"] / heard if heard else None


def _length(run: Run) -> float | None:
    """The median length of a completion; how many have each length is counted block by block."""
    file, counts = tables.find(run.path, "ratings"), Counter[int]()
    read = spans.Reader(file, "ratings", ["completion_id", "length"], "completion_id")
    for span in spans.plan(file, "ratings", "completion_id"):
        counts.update(dict(read(span).unique("completion_id")["length"].value_counts().iter_rows()))
    if not counts:
        return None
    lengths = pl.DataFrame(sorted(counts.items()), schema=["length", "count"], orient="row")
    upto, total = lengths["count"].cum_sum(), counts.total()
    places = {int(upto.search_sorted(place + 1)) for place in ((total - 1) // 2, total // 2)}
    middle = [int(lengths["length"][place]) for place in places]
    return sum(middle) / len(middle)


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
