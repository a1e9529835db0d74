"""Table 4: what `wim eval` has written to benchmarks.json, over seeds."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.intervals import RESAMPLES, Estimate, drawn_seeds
from analysis.paper.experiment import Cell
from builder import tables

TASKS = {
    "BBH": r"bbh(_(cot_)?(few|zero)shot)?",
    "GPQA diamond": r"gpqa_diamond(_(generative_|cot_)?(n_|zero)shot)?",
    "IFEval": r"ifeval",
    "MMLU": r"mmlu(_(continuation|generative|flan_cot_(few|zero)shot|flan_n_shot_(generative|loglikelihood)))?",
}
"""The paper's name of a benchmark, and the names that it has in lm-eval (after ``leaderboard_``): of the whole of it,
not of one subject that was asked for alone, nor of another benchmark such as mmlu_pro.
"""
METRICS = ("exact_match", "prompt_level_strict_acc", "acc_norm", "acc")
"""Whichever of these a task has, the first; the paper does not name its metrics."""
NORMAL = 1.959964  # the normal quantile of 0.975

Found = Mapping[str, float | None]


def of(cells: Sequence[Cell]) -> dict[str, dict[str, Estimate]]:
    """By benchmark: ``value`` and, against the base model, ``base`` and ``difference``, in percent.

    Resampled are the seeds; the questions' share is the normal approximation by the standard error that
    lm-eval gives, for the difference by the interval that is paired by question.
    """
    read = [list(_scores(cell)) for cell in cells]
    found = {}
    for name in TASKS:
        scores = [score for of_cell in read for task, score in of_cell if task == name]
        if scores:
            found[name] = _estimates(scores)
    return found


def _scores(cell: Cell) -> Iterator[tuple[str, Found]]:
    """Each benchmark of the run that is there, with the figures under its metric."""
    file = cell.run.path / "benchmarks.json"
    if not file.is_file():
        return
    tasks: Mapping[str, Any] = tables.read_json(file).get("tasks", {})
    for name, known in TASKS.items():
        own = [task for task in sorted(tasks) if re.fullmatch(known, task.removeprefix("leaderboard_"))]
        for task in own[:1]:
            metrics = tasks[task]["metrics"]
            ranked = [metric for start in METRICS for metric in sorted(metrics) if metric.startswith(start)]
            if ranked and metrics[ranked[0]]["value"] is not None:
                yield name, metrics[ranked[0]]


def _estimates(scores: Sequence[Found]) -> dict[str, Estimate]:
    drawn = drawn_seeds(len(scores))
    generator = np.random.default_rng([0, 4])
    found = {"value": _mean([(s["value"], s["stderr"]) for s in scores], drawn, generator)}
    found["base"] = _mean([(s["base_value"], s["base_stderr"]) for s in scores], drawn, generator)
    found["difference"] = _mean([(s["difference"], _stderr(s)) for s in scores], drawn, generator)
    return {name: estimate for name, estimate in found.items() if estimate}


def _stderr(score: Found) -> float | None:
    low, high = score["difference_low"], score["difference_high"]
    return (high - low) / (2 * NORMAL) if low is not None and high is not None else None


def _mean(
    scores: Sequence[tuple[float | None, float | None]], drawn: NDArray[np.int64], generator: np.random.Generator
) -> Estimate | None:
    """The mean over seeds of (value, standard error); without an error the interval covers seeds only.

    All seeds answer the same questions, so that what these add to the figures is common to them: no average over
    seeds makes it smaller.
    """
    if any(value is None for value, _ in scores):
        return None
    values = 100 * np.array([value for value, _ in scores], np.float64)
    errors = 100 * np.array([error or 0.0 for _, error in scores])
    noise = generator.standard_normal((RESAMPLES, 1)) * errors[drawn]
    return Estimate(float(values.mean()), (values[drawn] + noise).mean(axis=1))
