"""The report's standard benchmarks: what `wim eval` has left beside a run."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analysis import benchmarks, page
from analysis.paper.benchmarked import NORMAL
from analysis.report.summary import count
from analysis.runs import Run

NOTE = (
    "Tasks of lm-evaluation-harness, answered by the run's policy and by the model below it, each metric on its own "
    "scale. 95% intervals: of a figure by its standard error, of a difference by resampling the questions, which both "
    "have answered. Figures compare only with the same version, examples and chat template."
)
HEAD = ["Policy", "Task", "Metric", "Version", "Examples", "Questions", "Figure", "95% interval", "Below it",
        "95% interval", "Difference", "95% interval"]  # fmt: skip

Figures = Mapping[str, float | None]


def section(runs: Sequence[Run]) -> str:
    """A row for each run, task and metric, parts of a group left out; "" where no run was asked."""
    found = [(run, asked) for run in runs if (asked := benchmarks.known(run.path))]
    rows = [row for run, asked in found for row in _rows(run, asked)]
    note = " ".join([NOTE, *(told for run, asked in found for told in _doubts(run, asked))])
    return page.section("Standard benchmarks", note, page.table(HEAD, rows, 3) if rows else "")


def _rows(run: Run, asked: Mapping[str, Any]) -> Iterator[list[str]]:
    for task, entry in asked["tasks"].items():
        if entry["part_of_group"]:
            continue
        shots = "–" if entry["num_fewshot"] is None else str(entry["num_fewshot"])
        for metric, found in entry["metrics"].items():
            about = [run.label, task, metric, entry["version"], shots, f"{found['n']:,}"]
            yield [*about, *_figure(found, ""), *_figure(found, "base_"), *_difference(found)]


def _figure(found: Figures, whose: str) -> list[str]:
    value, error = found[f"{whose}value"], found[f"{whose}stderr"]
    if value is None or error is None:
        return ["–" if value is None else f"{value:.4f}", "–"]
    return [f"{value:.4f}", f"{value - NORMAL * error:.4f} to {value + NORMAL * error:.4f}"]


def _difference(found: Figures) -> list[str]:
    value, low, high = (found[f"difference{end}"] for end in ("", "_low", "_high"))
    between = "–" if low is None or high is None else f"{low:+.4f} to {high:+.4f}"
    return ["–" if value is None else f"{value:+.4f}", between]


def _doubts(run: Run, asked: Mapping[str, Any]) -> Iterator[str]:
    """What makes the figures less than a benchmark's."""
    limit = asked["settings"]["limit"]
    if limit is not None:
        yield f"{run.label} has answered the first {count(limit, 'question')} of each task only."
    if asked["truncated"]:
        yield f"{run.label}: some questions were longer than the model reads and lost their beginning."
