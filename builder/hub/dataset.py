"""The configurations of a dataset and their rows, streamed from the runs' tables into shards.

One configuration for each run, `unprompted` for the pairs of all runs whose prompt's text is not known, `ratings` for
every judgement of all runs. Each has the splits `train` and `test`, as far as it has rows for them.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from builder import tables
from builder.errors import TableError
from builder.hub import judged, shards
from builder.hub.runs import Run
from builder.hub.schemas import SCHEMAS, Schema
from builder.hub.shards import Shards, Written
from builder.hub.split import TEST, TRAIN, Split
from builder.streams import spans

UNPROMPTED, RATINGS = "unprompted", "ratings"
PLAIN = SCHEMAS["preference"]


@dataclass(frozen=True)
class Config:
    """A configuration that has rows: its files lie in ``folder``, below the dataset's."""

    name: str
    folder: str
    columns: pa.Schema
    splits: dict[str, Written]

    @property
    def rows(self) -> int:
        return sum(split.rows for split in self.splits.values())


@dataclass(frozen=True)
class Source:
    """Rows of one run on their way: how many will come for each split, and from how many bytes, roughly."""

    rows: dict[str, int]
    bytes: float
    blocks: Iterator[tuple[str, pl.DataFrame]]


def planned(runs: Sequence[Run], split: Split, schema: Schema) -> list[pl.DataFrame]:
    """For every pair of each run its place in the order of its id, whether it is ``prompted`` and ``test``, its rows.

    Raises TableError if the same pair is in several of the runs, if there is none, or if a prompt is not known.
    """
    plans = [_plan(run, split, schema) for run in runs]
    names = pl.concat(plan[schema.key] for plan in plans)
    if names.is_empty():
        raise TableError("publish: the runs hold no pair; `wim stats` tells what became of their prompts")
    if schema.table == "pairs" and names.is_duplicated().any():
        raise TableError("publish: the same pair is in several of the runs; give each its own --arm or --round")
    return [plan.drop(schema.key) for plan in plans]


def write(
    runs: Sequence[Run],
    plans: Sequence[pl.DataFrame],
    out: Path,
    split: Split,
    schema: Schema,
    about: Mapping[str, Any],
) -> list[Config]:
    """Write the rows of all runs, by their plans, below ``out``.

    Memory: some bytes for each pair, and a few blocks of rows.
    """
    prompted = [_pairs(run, plan.filter("prompted"), schema) for run, plan in zip(runs, plans, strict=True)]
    bare = [
        _pairs(run, plan.filter(~pl.col("prompted")), PLAIN)
        for run, plan in zip(runs, plans, strict=True)
        if schema.table == "pairs"
    ]
    ratings = [_ratings(run, split) for run in runs]
    made = [
        *(
            _written(run.config, f"data/{run.config}", out, [source], schema.columns, about)
            for run, source in zip(runs, prompted, strict=True)
        ),
        _written(UNPROMPTED, UNPROMPTED, out, bare, PLAIN.columns, about),
        _written(RATINGS, RATINGS, out, ratings, judged.SCHEMA, about),
    ]
    return [config for config in made if config.splits]


def _plan(run: Run, split: Split, schema: Schema) -> pl.DataFrame:
    file = tables.find(run.folder, schema.table)
    plan = schema.plan(file).join(split.prompts, on="prompt_id", how="left", maintain_order="left")
    if plan["known"].has_nulls():
        strange = _named(file, schema.table, plan.filter(pl.col("known").is_null())["prompt_id"][0])
        raise TableError(f"{file}: prompt {strange} is not in {tables.find(run.folder, 'prompts')}; `wim pair` again?")
    count = pl.when("known").then(schema.counts).otherwise(1).cast(pl.UInt8)
    plan = plan.with_columns(test=split.is_test(pl.col("prompt_id")), rows=count).rename({"known": "prompted"})
    return plan.drop("prompt_id").with_row_index("place")


def _named(file: Path, table: str, prompt: int) -> str:
    """The id of the prompt of some row, which hashes to ``prompt``."""
    blocks = tables.batches(file, table, ["prompt_id"])
    found = (block.filter(pl.col("prompt_id").hash() == prompt)["prompt_id"] for block in blocks)
    return next(str(ids[0]) for ids in found if len(ids))


def _pairs(run: Run, plan: pl.DataFrame, schema: Schema) -> Source:
    """The pairs of a run that the plan holds."""
    file = tables.find(run.folder, schema.table)
    share = len(plan) / max(1, tables.open_parquet(file).metadata.num_rows)
    return Source(_by_split(plan), share * file.stat().st_size, _blocks(file, plan, schema))


def _blocks(file: Path, plan: pl.DataFrame, schema: Schema) -> Iterator[tuple[str, pl.DataFrame]]:
    start = 0
    for block in spans.blocks(file, schema.table, tables.SCHEMAS[schema.table].names, schema.key, shards.GROUP):
        first, end = (plan["place"].search_sorted(place) for place in (start, start + len(block)))
        wanted = plan[first:end]
        both = block[wanted["place"].cast(pl.Int64) - start].hstack(wanted.drop("place", "rows"))
        start += len(block)
        yield TRAIN, schema.rows(both.filter(~pl.col("test")))
        yield TEST, schema.rows(both.filter("test"))


def _ratings(run: Run, split: Split) -> Source:
    files = [tables.find(run.folder, name) for name in ("ratings", "completions", "feedback")]
    counts = {TRAIN: 0, TEST: 0}
    for block in tables.batches(files[0], "ratings", ["prompt_id"]):
        tests = int(block.select(split.is_test().sum()).item())
        counts = {TRAIN: counts[TRAIN] + len(block) - tests, TEST: counts[TEST] + tests}
    parted = (
        part
        for block in judged.blocks(run)
        for part in ((TRAIN, block.filter(~split.is_test())), (TEST, block.filter(split.is_test())))
    )
    return Source(counts, sum(file.stat().st_size for file in files), parted)


def _by_split(plan: pl.DataFrame) -> dict[str, int]:
    rows = pl.col("rows").cast(pl.Int64)
    counts = {TRAIN: rows.filter(~pl.col("test")).sum(), TEST: rows.filter("test").sum()}
    return {name: int(plan.select(count).item()) for name, count in counts.items()}


def _written(
    name: str, folder: str, out: Path, sources: Sequence[Source], columns: pa.Schema, about: Mapping[str, Any]
) -> Config:
    counts = {split: sum(source.rows[split] for source in sources) for split in (TRAIN, TEST)}
    size, total = sum(source.bytes for source in sources), max(1, sum(counts.values()))
    with contextlib.ExitStack() as stack:
        made = {
            split: stack.enter_context(
                Shards(out, folder, split, count, shards.number(size * count / total), columns, about)
            )
            for split, count in counts.items()
            if count
        }
        for source in sources:
            for split, frame in source.blocks:
                if len(frame):
                    made[split].add(frame)
    return Config(name, folder, columns, {split: shard.written() for split, shard in made.items()})
