"""refine: completions + feedback -> completions.parquet of another run: these and what the policy makes of them.

The policy writes a completion again, given what a judge says is missing in it. What comes of it is a completion like
any other: in a run folder of its own it is judged, rated and paired beside those that it was made from.
"""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from builder import generate, ids, judgements, refine_plan, refined, rewrite, rows, sources, tables
from builder.engines import Request, Sampling
from builder.errors import TableError, WimError
from builder.language import policy
from builder.language.policy import Policy
from builder.params import Params, Refine
from builder.params.blocks import as_dict
from builder.streams import spans
from builder.streams.by_hash import Sorter, sorter

HELD = 4 * rows.BLOCK
"""Rows that are written at once."""


@dataclass(frozen=True)
class Made:
    """Completions read, and by what is said of them: ``missing`` (they can be written again), ``nothing``,
    ``unreadable`` or ``absent`` of all their judges. ``refined``: rewritings, of these ``unchanged``, ``empty`` or
    ``cut`` by max_tokens.
    """

    completions: int
    missing: int
    nothing: int
    unreadable: int
    absent: int
    refined: int
    unchanged: int
    empty: int
    cut: int
    reasons: dict[str, int]
    usage: dict[str, float]


def run(folder: Path, params: Params, out: Path | None = None, policy_folder: Path | None = None) -> Made:
    """Write OUT/completions.parquet (default: RUN/refined). Texts are read and written part by part.

    Raises WimError if OUT holds what was made otherwise, TableError if a table is not there.
    """
    out = out or folder / "refined"
    files = {name: tables.find(folder, name) for name in ("prompts", "completions", "feedback")}
    _check_replaceable(folder, out, files["prompts"])
    if params.refine.which != "all":
        files["ratings"] = tables.find(folder, "ratings")
    before = tables.fingerprints(files)
    tables.check_made_from(files["feedback"], before, "judge")
    if "ratings" in files:
        tables.check_made_from(files["ratings"], before, "rate")
    said = refine_plan.said(files)
    plan = refine_plan.planned(said, files, params)
    by = policy.read(policy_folder, params.model)
    source = sources.source(params, [by])
    texts = _Texts(files, plan)
    done = generate.generate("refine", requests(texts, by, params), len(plan), by, source, "refine")
    about = _about(files, params, by, source, generate.usage([done], params))
    tables.check_unchanged(about["inputs"], before)
    _keep_prompts(files["prompts"], out)
    counts = _Counts()
    _write(tables.path(out, "completions"), files["completions"], counts.seen(frames(texts, done, by)), about)
    told = generate.reasons(done)
    for reason, count in told.items():
        print(f"{count:,} of {len(plan):,} completions could not be written again: {reason}", file=sys.stderr)
    usage = generate.usage([done], params)
    return Made(len(said), **refine_plan.statuses(said), refined=len(plan), **vars(counts), reasons=told, usage=usage)


def _check_replaceable(folder: Path, out: Path, prompts: Path) -> None:
    file, other = tables.path(out, "completions"), tables.path(out, "prompts")
    if out.resolve() == folder.resolve():
        raise WimError(f"{out}: refined completions stand beside those they come from in a run folder of its own")
    if file.is_file() and (stage := str(tables.read_metadata(file).get("stage", "others"))) != "refine":
        raise WimError(f"{file}: made by {stage}, and would be written over; take a run folder of its own (--out)")
    if other.is_file() and not file.is_file() and _differ(prompts, other):
        raise WimError(
            f"{other}: not those of {prompts}, and would be written over; take a run folder of its own (--out)"
        )


def _differ(prompts: Path, other: Path) -> bool:
    return tables.fingerprints({"prompts": prompts}) != tables.fingerprints({"prompts": other})


class _Texts:
    """The rewritings of a plan with the texts they are made from, read anew at each call, in blocks of rows.BLOCK."""

    def __init__(self, files: Mapping[str, Path], plan: pl.DataFrame) -> None:
        self.stored = judgements.Stored(files["completions"], files["feedback"])
        self.prompts = files["prompts"]
        self.plan = plan

    def __call__(self) -> Iterator[pl.DataFrame]:
        """The plan's columns, prompt_id, messages, text, refined_feedback."""
        prompts = spans.Lookup(self.prompts, "prompts", ["prompt_id", "messages"], "prompt_id")
        key = {"refined_from": "completion_id", "refined_judge": "judge"}

        def joined() -> Iterator[pl.DataFrame]:
            for frame in self.stored.frames():
                frame = frame.select("completion_id", "judge", "prompt_id", "text", refined_feedback="feedback")
                found = self.plan.join(frame, left_on=list(key), right_on=list(key.values()), maintain_order="left")
                asked = prompts(found["prompt_id"])
                tables.check_prompted(asked, "refined")
                if len(asked) < found["prompt_id"].n_unique():
                    raise TableError(f"a completion's prompt is not in {self.prompts}")
                yield found.join(asked, on="prompt_id", maintain_order="left")

        if len(self.plan):
            yield from spans.even(joined(), rows.BLOCK)


def requests(texts: _Texts, by: Policy, params: Params) -> Iterator[Request]:
    """One request for each rewriting. Its seed hangs on what it is made from, and not on how many others there are."""
    how = _sampling(params.refine)
    columns = ["refined_from", "refined_judge", "copy", "messages", "text", "refined_feedback"]
    for block in texts():
        for name, judge, copy, messages, text, missing in block.select(columns).iter_rows():
            seed = ids.seed_of(params.seed, f"refine:{name}:{judge}", copy)
            yield Request(tuple(rewrite.messages(messages, text, missing)), by, seed, how)


def _sampling(settings: Refine) -> Sampling:
    return Sampling(settings.temperature, settings.max_tokens, settings.top_p, settings.stop)


def frames(texts: _Texts, done: rows.Rows, by: Policy) -> Iterator[pl.DataFrame]:
    """The rewritings as rows of completions.parquet with refined.COLUMNS; ``text_before`` is what each comes from."""
    made = done.blocks(columns=["text", "finish_reason", "tokens"])
    for block, answers in zip(texts(), made, strict=True):
        block = block.drop("messages", "copy").rename({"text": "text_before"})
        yield block.with_columns(policy=pl.lit(by.hash())).hstack(pl.DataFrame(answers))


def _write(file: Path, completions: Path, made: Iterator[pl.DataFrame], about: Mapping[str, Any]) -> None:
    """The completions that there were, with all their columns, and the rewritings, by completion_id."""
    schema = tables.open_parquet(completions).schema_arrow
    own = [field for field in schema if field.name not in (*tables.SCHEMAS["completions"].names, *refined.COLUMNS)]
    columns = [*tables.SCHEMAS["completions"].names, *(field.name for field in own)]
    known = [name for name in refined.COLUMNS if name in schema.names]
    with tables.told(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    with sorter(file.parent, "completion_id") as every:
        _add(every, tables.read_nothing(completions, "completions", columns), columns)  # a run may hold no row
        for block in tables.batches(completions, "completions", [*columns, *known], rows.BLOCK):
            _add(every, block, columns)
        absent = [pl.lit(None, kind).alias(name) for name, kind in pl.Schema(pa.schema(own)).items()]
        for frame in made:
            _add(every, frame.with_columns(absent), columns)
        groups = (group.rechunk() for group in spans.even(every.frames(), HELD))
        tables.write_blocks(file, "completions", groups, about, [*own, *refined.FIELDS])


def _add(every: Sorter, frame: pl.DataFrame, columns: list[str]) -> None:
    absent = [pl.lit(None, pl.String).alias(name) for name in refined.COLUMNS if name not in frame.columns]
    every.add(frame.with_columns(absent).select(*columns, *refined.COLUMNS))


def _about(
    files: Mapping[str, Path], params: Params, by: Policy, source: generate.Source, usage: dict[str, float]
) -> dict[str, Any]:
    """What the table says: of the completions that there were, what their table says; of the rewritings beside it."""
    said = tables.read_metadata(files["completions"])
    settings = dict(said.get("params", {})) | {"refine": as_dict(params.refine), "seed": params.seed}
    facts: dict[str, Any] = {name: said[name] for name in ("policy", "also", "engine") if name in said}
    total = {name: said.get("usage", {}).get(name, 0) + count for name, count in usage.items()}
    facts |= {"usage": total, "refined_by": {"policy": by.about(), "engine": source.about(), "usage": usage}}
    return tables.metadata("refine", settings, files, **facts)


def _keep_prompts(prompts: Path, out: Path) -> None:
    """A copy in OUT, unless the same prompts are found from there."""
    with contextlib.suppress(TableError):
        if not _differ(prompts, tables.find(out, "prompts")):
            return
    tables.write_bytes(tables.path(out, "prompts"), prompts.read_bytes())


@dataclass
class _Counts:
    unchanged: int = 0
    empty: int = 0
    cut: int = 0

    def seen(self, blocks: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        for frame in blocks:
            same = pl.col("text").str.strip_chars() == pl.col("text_before").str.strip_chars()
            self.unchanged += int(frame.select(same.sum()).item())
            self.empty += int(frame.select(judgements.is_empty(pl.col("text")).sum()).item())
            self.cut += int((frame["finish_reason"] == "length").sum())
            yield frame
