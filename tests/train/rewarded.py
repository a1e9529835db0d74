"""A small run with all that a reward model can learn from: ratings, aspects, verdicts on pairs."""

from pathlib import Path
from typing import Any

import polars as pl

from builder import cli, ids, tables
from builder.ids import canonical_json

FACTS = ("It is grey.", "It has four legs.", "It lives in the water.", "It feeds on moss.")
SMALL = ("train.batch=4", "train.device_batch=2", "train.learning_rate=1e-3", "train.max_steps=3")


def sets(*settings: str) -> list[str]:
    return [word for setting in (*SMALL, *settings) for word in ("--set", setting)]


def make_run(run: Path, prompts: int = 20, count: int = 3) -> None:
    """Completions of 1 to 4 facts with a gap of its own for each prompt, so that no two deltas are equal."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("prompts", "completions", "feedback", "ratings")}
    compared: list[dict[str, Any]] = []
    for i in range(prompts):
        messages = [{"role": "user", "content": f"Describe the thing number {i}."}]
        prompt = ids.prompt_id(messages)  # type: ignore[arg-type]
        rows["prompts"].append({"prompt_id": prompt, "messages": messages, "source": "here"})
        told = [(1 + (i + 2 * j) % 4) for j in range(count)]
        for j, facts in enumerate(told):
            name, number = ids.completion_id(prompt, j), float(2 * facts) + 0.01 * i * facts / prompts
            text = " ".join([f"Thing {i}.", *FACTS[:facts]])
            about = {"completion_id": name, "prompt_id": prompt}
            rows["completions"].append(about | {"index": j, "text": text, "finish_reason": "stop", "policy": "here"})
            aspects = canonical_json({"coverage": float(facts), "brevity": 5.0 - facts if j else None})
            rows["feedback"].append(
                {"completion_id": name, "judge": "aspects", "attempt": 0, "rating": number, "rating_status": "ok"}
                | {"wim": "It leaves out its size.", "wim_status": "missing", "aspects": aspects}
            )
            rated = {"judge": "aspects", "length": len(text), "ratable": True, "rating": number}
            rows["ratings"].append(about | rated | {"R": number / 10, "wim": 0.0, "reward": number / 10})
        for a in range(count):
            for b in range(a + 1, count):
                grade = max(-2, min(2, told[a] - told[b]))
                pair = {"a": ids.completion_id(prompt, a), "b": ids.completion_id(prompt, b), "prompt_id": prompt}
                asked = {"judge": "likert", "order": 0, "attempt": 0, "most": 2, "grade": grade}
                compared.append(pair | asked | {"verdict": "a" if grade > 0 else "b" if grade < 0 else "tie"})
    for name, made in [*rows.items(), ("comparisons", compared)]:
        key = ["prompt_id", "a"] if name == "comparisons" else ["prompt_id" if name == "prompts" else "completion_id"]
        tables.write(tables.path(run, name), name, frame(name, made).sort(key), {})


def frame(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """With nulls in the columns of the schema that ``rows`` leave out."""
    empty = pl.from_arrow(tables.SCHEMAS[name].empty_table())
    assert isinstance(empty, pl.DataFrame)
    return pl.concat([empty, pl.DataFrame(rows, infer_schema_length=None)], how="diagonal_relaxed")


def paired(run: Path) -> None:
    """With pairs.parquet of all that differ, by `wim pair`."""
    make_run(run)
    cli.main(["pair", str(run), "--set", "pair.strategy=all", "--set", "rate.method=numerical"])
