"""What training and evaluation would leave in a run, written by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analysis import benchmarks
from analysis.benchmarks import Answers, Score
from builder import evaluate, tables


def evaluated(run: Path, gain: float, noise: float = 0.0) -> dict[str, Any]:
    """Evaluation files of 40 prompts, ``gain`` above the base on the average of every two prompts."""
    rng = np.random.default_rng(3)
    base = rng.uniform(0.2, 0.6, 40)
    values = base + gain + noise * np.tile([1.0, -1.0], 20)
    ids = [f"p{i}" for i in range(40)]
    frame = pl.DataFrame({"prompt_id": ids, "completion_id": ids, "value": values})
    tables.write(run / "evaluation.parquet", "evaluation", frame, {})
    found = evaluate.summarise(values, base, 0)
    tables.write_json(run / "evaluation.json", found)
    return found


def trained(run: Path, steps: int) -> None:
    values = [(step, name, 1 / step) for step in range(1, steps + 1) for name in ("loss", "rewards/margins")]
    frame = pl.DataFrame(values, schema={"step": pl.Int32, "name": pl.String, "value": pl.Float64}, orient="row")
    tables.write(run / "training.parquet", "training", frame, {})


def benchmarked(run: Path, gain: float, limit: int | None = None) -> dict[str, Any]:
    """benchmarks.json of a task with 40 questions, a part of it, and a figure that is no mean over questions.

    The policy answers ``gain`` of the 40 more than the 10 that the base model does.
    """
    before, after = (np.repeat([1.0, 0.0], [right, 40 - right]) for right in (10, 10 + round(40 * gain)))

    def answers(questions: np.ndarray) -> Answers:
        value = float(questions.mean())
        scores = {"acc": Score(40, value, 0.05, questions), "rouge": Score(40, value / 2, None, None)}
        about = {"version": "3", "num_fewshot": 5, "part_of_group": False}
        told = {"facts": about, "facts_birds": about | {"part_of_group": True}}
        return Answers(dict.fromkeys(told, scores), told, limit is not None)

    found = benchmarks.summarise(answers(after), answers(before), 0) | {"settings": {"limit": limit}}
    tables.write_json(run / benchmarks.FILE, found)
    return found
