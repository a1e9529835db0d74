"""complete: prompts + policy -> completions.parquet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from builder import generate, ids, policy, tables
from builder.engines import Request, Sampling
from builder.params import Params
from builder.policy import Policy


@dataclass(frozen=True)
class Made:
    """Completions, and how many were cut by ``max_tokens`` or are empty."""

    prompts: int
    completions: int
    cut: int
    empty: int


def run(folder: Path, params: Params, policy_folder: Path | None = None) -> Made:
    """Write completions.parquet: ``complete.n`` completions of every prompt."""
    prompts = tables.read(tables.find(folder, "prompts"), "prompts", ["prompt_id", "messages"])
    tables.check_prompted(prompts, "completed")
    by = policy.read(policy_folder, params.model)
    frame = complete(prompts, by, params)
    inputs = {"prompts": tables.find(folder, "prompts")}
    settings = {"complete": vars(params.complete), "engine": params.engine.name, "seed": params.seed}
    about = tables.metadata("complete", settings, inputs, policy=by.about())
    tables.write(tables.path(folder, "completions"), "completions", frame, about)
    empty, cut = (frame["text"].str.strip_chars() == "").sum(), (frame["finish_reason"] == "length").sum()
    return Made(len(prompts), len(frame), int(cut), int(empty))


def complete(prompts: pl.DataFrame, by: Policy, params: Params) -> pl.DataFrame:
    """The completions table, sorted by completion_id. Every row has a seed of its own."""
    count = params.complete.n
    settings = params.complete
    sampling = Sampling(settings.temperature, settings.max_tokens, settings.top_p, settings.stop)
    rows = [(p, i, m) for p, m in prompts.sort("prompt_id").iter_rows() for i in range(count)]
    names = [ids.completion_id(p, i) for p, i, _ in rows]
    requests = [
        Request(tuple(messages), by, ids.seed_of(params.seed, name), sampling)
        for name, (_, _, messages) in zip(names, rows, strict=True)
    ]
    done = generate.generate("complete", names, requests, params, "complete")
    return _frame(rows, names, done, by)


def _frame(rows: Sequence[tuple[str, int, object]], names: list[str], done: pa.Table, by: Policy) -> pl.DataFrame:
    generated = pl.DataFrame(done)
    return pl.DataFrame(
        {
            "completion_id": names,
            "prompt_id": [prompt for prompt, _, _ in rows],
            "index": pl.Series([index for _, index, _ in rows], dtype=pl.Int16),
            "text": generated["text"],
            "finish_reason": generated["finish_reason"],
            "tokens": generated["tokens"],
            "policy": [by.hash()] * len(names),
        }
    ).sort("completion_id")
