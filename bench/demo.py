"""A round in the demo's world: completions and what is said of them, learners, true coverage of held-out prompts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
Covered = list[NDArray[np.float64]]
"""Of each seed the coverage of each held-out prompt [prompts, 2], after the learning and before it."""


@dataclass(frozen=True)
class Run:
    """A judged run; ``tokens``: that completions and refinements took, and those of their judgements."""

    folder: Path
    tokens: int
    judged: int


def settings(seed: int, *sets: str) -> Any:
    """The demo's parameters with ``sets`` (key=value) over them."""
    from builder import params

    return params.load(ROOT / "params.yaml", [f"seed={seed}", *sets])


def sampled(folder: Path, given: Any) -> Run:
    """``complete.n`` completions of each prompt, judged."""
    from builder import complete, judge, prompts

    folder.mkdir(parents=True, exist_ok=True)
    prompts.run(folder, given)
    tokens = complete.run(folder, given).usage["tokens"]
    return Run(folder, int(tokens), int(judge.run(folder, given).usage["tokens"]))


def paired(folder: Path, given: Any) -> None:
    """Ratings and pairs of a judged run."""
    from builder import embed, pair, rate

    for stage in (embed, rate, pair):
        stage.run(folder, given)


def evaluated(folder: Path, given: Any) -> NDArray[np.float64]:
    """Coverage of each held-out prompt [prompts, 2] by the run's policy and by the base model."""
    from builder import evaluate, tables

    evaluate.run(folder, given)
    return tables.read(folder / "evaluation.parquet", "evaluation", ["value", "base_value"]).to_numpy()


def drawn(folder: Path) -> float:
    """The mean coverage of all completions of which `evaluate.best_by` chose: what choosing by chance gives."""
    from builder import tables

    return float(tables.read_json(folder / "evaluation.json")["choice"]["mean"])


def after(values: Covered) -> NDArray[np.float64]:
    """Coverage after the learning [prompts, seeds]."""
    return np.stack([each[:, 0] for each in values], axis=1)


def rises(values: Covered) -> NDArray[np.float64]:
    """By how much coverage rose [prompts, seeds]."""
    return np.stack([each[:, 0] - each[:, 1] for each in values], axis=1)


def interval(values: NDArray[np.float64]) -> str:
    """The mean over all, and its 95% interval over prompts, of which each has a row."""
    from builder import evaluate

    rows = values.reshape(len(values), -1).mean(axis=1)[None]
    low, high = evaluate.bootstrap(rows, 42)[:, 0]
    return f"{rows.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
