"""complete: prompts + policy -> completions.parquet."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from builder import generate, ids, judgements, policy, rows, tables
from builder.engines import Request, Sampling
from builder.params import Params
from builder.policy import Policy


@dataclass(frozen=True)
class Made:
    """Completions, how many were cut by ``max_tokens``, are empty, or could not be made, and what they took."""

    prompts: int
    completions: int
    cut: int
    empty: int
    reasons: dict[str, int]
    usage: dict[str, float]


def run(folder: Path, params: Params, policy_folder: Path | None = None, source: generate.Source | None = None) -> Made:
    """Write completions.parquet: ``complete.n`` completions of every prompt. Rows stream from file to file.

    ``source``: where texts come from, if not from an engine that is loaded for the purpose.
    """
    if params.complete.temperature == 0 and params.complete.n > 1:
        print(f"complete.temperature is 0: the {params.complete.n} completions of a prompt are equal", file=sys.stderr)
    file = tables.find(folder, "prompts")
    before = tables.fingerprints({"prompts": file})
    prompts = partial(tables.read_blocks, file, "prompts", ["prompt_id", "messages"], "prompt_id", rows.BLOCK)
    for block in prompts():
        tables.check_prompted(block, "completed")
    plan = planned(tables.read(file, "prompts", ["prompt_id"])["prompt_id"], params.complete.n)
    by = policy.read(policy_folder, params.model)
    source = source or generate.source(params, [by])
    done = generated(prompts(), len(plan), by, params, source)
    usage = generate.usage([done], params)
    settings = {"complete": vars(params.complete), "engine": params.engine.name, "seed": params.seed}
    about = tables.metadata(
        "complete", settings, {"prompts": file}, policy=by.about(), usage=usage, engine=source.about()
    )
    counts = _Counts()
    tables.check_unchanged(about["inputs"], before)
    tables.write_blocks(tables.path(folder, "completions"), "completions", counts.seen(frames(plan, done, by)), about)
    told = generate.reasons(done)
    for reason, count in told.items():
        print(f"{count:,} of {len(plan):,} completions could not be made: {reason}", file=sys.stderr)
    return Made(len(plan) // params.complete.n, len(plan), counts.cut, counts.empty, told, usage)


def complete(prompts: pl.DataFrame, by: Policy, params: Params) -> pl.DataFrame:
    """The completions table of ``prompts`` (prompt_id, messages), sorted by completion_id."""
    prompts = prompts.sort("prompt_id")
    plan = planned(prompts["prompt_id"], params.complete.n)
    blocks = prompts.select("prompt_id", "messages").iter_slices(rows.BLOCK)
    done = generated(blocks, len(plan), by, params, generate.source(params, [by]))
    empty = pl.DataFrame(schema=pl.Schema(tables.SCHEMAS["completions"]))
    return pl.concat([empty, *(frame.select(empty.columns) for frame in frames(plan, done, by))])


def planned(prompts: pl.Series, count: int) -> pl.DataFrame:
    """Which completions there will be: completion_id, by which the rows are sorted, prompt_id, index.

    ``row`` is a completion's place where prompts are sorted by their ids: ``a-00`` stands before ``a``'s ``a-01``.
    """
    indices = pl.DataFrame({"index": range(count)}, schema={"index": pl.Int16})
    digits = pl.col("index").cast(pl.String).str.zfill(2)
    plan = prompts.sort().to_frame().join(indices, how="cross", maintain_order="left_right").with_row_index("row")
    return plan.with_columns(completion_id=pl.format("{}-{}", "prompt_id", digits)).sort("completion_id")


def requests(prompts: Iterable[pl.DataFrame], by: Policy, params: Params) -> Iterator[Request]:
    """``complete.n`` requests for each prompt, one after the other. Every row has a seed of its own."""
    settings = params.complete
    sampling = Sampling(settings.temperature, settings.max_tokens, settings.top_p, settings.stop)
    for block in prompts:
        for prompt, messages in block.iter_rows():
            names = (ids.completion_id(prompt, index) for index in range(settings.n))
            yield from (Request(tuple(messages), by, ids.seed_of(params.seed, name), sampling) for name in names)


def generated(
    prompts: Iterable[pl.DataFrame], total: int, by: Policy, params: Params, source: generate.Source
) -> rows.Rows:
    """A generated text for each of the ``total`` completions of the prompts, which come in blocks."""
    return generate.generate("complete", requests(prompts, by, params), total, by, source, "complete")


def frames(plan: pl.DataFrame, done: rows.Rows, by: Policy) -> Iterator[pl.DataFrame]:
    """The completions table in blocks."""
    texts = done.ordered(plan["row"].to_numpy()).blocks(columns=["text", "finish_reason", "tokens"])
    policy = pl.lit(by.hash()).alias("policy")
    for block, text in zip(plan.iter_slices(rows.BLOCK), texts, strict=True):
        yield block.select("completion_id", "prompt_id", "index", policy).hstack(pl.DataFrame(text))


@dataclass
class _Counts:
    cut: int = 0
    empty: int = 0

    def seen(self, blocks: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        for frame in blocks:
            self.cut += int((frame["finish_reason"] == "length").sum())
            self.empty += int(frame.select(judgements.is_empty(pl.col("text")).sum()).item())
            yield frame
