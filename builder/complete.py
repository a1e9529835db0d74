"""complete: prompts + policy -> completions.parquet.

Further policies (``complete.also``) complete the same prompts: their completions are counted on from the policy's own.
"""

import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from builder import generate, ids, judgements, rows, sources, tables
from builder.engines import Request, Sampling
from builder.language import policy
from builder.language.policy import Policy
from builder.params import Params
from builder.streams import spans


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
    prompts = partial(spans.blocks, file, "prompts", ["prompt_id", "messages"], "prompt_id", rows.BLOCK)
    for block in prompts():
        tables.check_prompted(block, "completed")
    by = [policy.read(policy_folder, params.model), *(policy.named(name) for name in params.complete.also)]
    plan = planned(tables.read(file, "prompts", ["prompt_id"])["prompt_id"], len(by) * params.complete.n)
    done, engines = _generated_by_all(prompts, len(plan) // len(by), by, params, source)
    usage = generate.usage([each for _, each in done], params)
    how = {name: value for name, value in vars(params.complete).items() if name != "also"}  # names may be paths
    settings = {"complete": how, "engine": params.engine.name, "seed": params.seed}
    also = {"also": [each.about() for each in by[1:]]} if by[1:] else {}
    about = tables.metadata(
        "complete", settings, {"prompts": file}, policy=by[0].about(), usage=usage, engine=engines, **also
    )
    counts = _Counts()
    tables.check_unchanged(about["inputs"], before)
    tables.write_blocks(tables.path(folder, "completions"), "completions", counts.seen(frames(plan, done)), about)
    told = dict(sum((Counter(generate.reasons(each)) for _, each in done), Counter[str]()))
    for reason, count in told.items():
        print(f"{count:,} of {len(plan):,} completions could not be made: {reason}", file=sys.stderr)
    return Made(len(plan) // len(by) // params.complete.n, len(plan), counts.cut, counts.empty, told, usage)


def complete(prompts: pl.DataFrame, by: Policy, params: Params) -> pl.DataFrame:
    """The completions table of ``prompts`` (prompt_id, messages), sorted by completion_id."""
    prompts = prompts.sort("prompt_id")
    plan = planned(prompts["prompt_id"], params.complete.n)
    blocks = prompts.select("prompt_id", "messages").iter_slices(rows.BLOCK)
    done = generated(blocks, len(plan), by, params, sources.source(params, [by]))
    empty = pl.DataFrame(schema=pl.Schema(tables.SCHEMAS["completions"]))
    return pl.concat([empty, *(frame.select(empty.columns) for frame in frames(plan, [(by, done)]))])


def planned(prompts: pl.Series, count: int) -> pl.DataFrame:
    """Which completions there will be: completion_id, by which the rows are sorted, prompt_id, index.

    ``row`` is a completion's place where prompts are sorted by their ids: ``a-00`` stands before ``a``'s ``a-01``.
    """
    indices = pl.DataFrame({"index": range(count)}, schema={"index": pl.Int16})
    digits = pl.col("index").cast(pl.String).str.zfill(2)
    plan = prompts.sort().to_frame().join(indices, how="cross", maintain_order="left_right").with_row_index("row")
    return plan.with_columns(completion_id=pl.format("{}-{}", "prompt_id", digits)).sort("completion_id")


def requests(prompts: Iterable[pl.DataFrame], by: Policy, params: Params, first: int = 0) -> Iterator[Request]:
    """``complete.n`` requests for each prompt, from index ``first`` on. Every row has a seed of its own."""
    settings = params.complete
    sampling = Sampling(settings.temperature, settings.max_tokens, settings.top_p, settings.stop)
    for block in prompts:
        for prompt, messages in block.iter_rows():
            names = (ids.completion_id(prompt, index) for index in range(first, first + settings.n))
            yield from (Request(tuple(messages), by, ids.seed_of(params.seed, name), sampling) for name in names)


def generated(
    prompts: Iterable[pl.DataFrame], total: int, by: Policy, params: Params, source: generate.Source, first: int = 0
) -> rows.Rows:
    """A generated text for each of the ``total`` completions of the prompts, which come in blocks."""
    return generate.generate("complete", requests(prompts, by, params, first), total, by, source, "complete")


Completed = tuple[Policy, rows.Rows]
"""Who completed, and its texts in the order of the prompts' ids."""


def _generated_by_all(
    prompts: Callable[[], Iterable[pl.DataFrame]],
    total: int,
    by: Sequence[Policy],
    params: Params,
    source: generate.Source | None,
) -> tuple[list[Completed], dict[str, Any]]:
    """``total`` texts by each policy, and what a table says of the engine. One base model is in memory at a time."""
    done, about = list[Completed](), dict[str, Any]()
    for _, same in itertools.groupby(enumerate(by), key=lambda numbered: numbered[1].base()):
        here = list(same)
        own = sources.source(params, [each for _, each in here])
        engine = source if source and not done else own
        for number, each in here:
            done.append((each, generated(prompts(), total, each, params, engine, number * params.complete.n)))
        about = about or engine.about()
        own.close()
    return done, about


def frames(plan: pl.DataFrame, done: Sequence[Completed]) -> Iterator[pl.DataFrame]:
    """The completions table in blocks: of each prompt as many by one policy as by the next."""
    of_prompt = int(plan["index"].max() or 0) + 1  # type: ignore[arg-type]
    count = of_prompt // len(done)
    place = pl.col("row") // of_prompt * count + pl.col("index") % count
    for block in plan.iter_slices(rows.BLOCK):
        numbers = block["index"] // count
        own = (block.filter(numbers == number) for number in range(len(done)))
        yield pl.concat(
            _with_texts(part, part.select(place).to_series(), *each) for part, each in zip(own, done, strict=True)
        ).sort("completion_id")


def _with_texts(plan: pl.DataFrame, places: pl.Series, by: Policy, done: rows.Rows) -> pl.DataFrame:
    policy = pl.lit(by.hash()).alias("policy")
    texts = done.ordered(places.to_numpy()).table(["text", "finish_reason", "tokens"])
    return plan.select("completion_id", "prompt_id", "index", policy).hstack(pl.DataFrame(texts))


@dataclass
class _Counts:
    cut: int = 0
    empty: int = 0

    def seen(self, blocks: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        for frame in blocks:
            self.cut += int((frame["finish_reason"] == "length").sum())
            self.empty += int(frame.select(judgements.is_empty(pl.col("text")).sum()).item())
            yield frame
