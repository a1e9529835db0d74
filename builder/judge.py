"""judge: completions -> feedback.parquet. Every attempt is kept; the judge's words stay beside the reading.

A judge that compares completions also leaves comparisons.parquet (builder.judging.comparisons).
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from builder import generate, judgements, ratings, rows, sources, tables
from builder.errors import TableError
from builder.judges import compares, has_aspects, has_text
from builder.judging import asking, comparisons, panel
from builder.judging.asking import Attempt
from builder.judging.comparisons import Compared
from builder.judging.judged import Asked, frames
from builder.judging.panel import Juror
from builder.language import models
from builder.params import Params
from builder.params.blocks import as_dict
from builder.statuses import WimStatus
from builder.streams import spans

ASPECTS = pa.field("aspects", pa.string())
"""Beyond the schema of feedback, where a judge gives them: the numbers behind the rating, as JSON."""

Attempts = Sequence[Attempt[rows.Rows]]


@dataclass(frozen=True)
class Made:
    """Judgements by what their text is; ``attempts`` counts every answer asked for, ``usage`` what they took.

    ``verdicts``: of judges that compare (builder.judging.comparisons.summary).
    """

    judgements: int
    attempts: int
    missing: int
    nothing: int
    unreadable: int
    usage: dict[str, float]
    verdicts: dict[str, float] = field(default_factory=dict)


def run(folder: Path, params: Params, policy_folder: Path | None = None, source: generate.Source | None = None) -> Made:
    """Write feedback.parquet. ``judged_by``: ``base``, ``current`` (the policy of ``policy_folder``) or a model.

    ``source``: where answers come from, if not from the engine of the parameters.
    """
    jury = panel.panel(params, policy_folder)
    before = tables.fingerprints(_files(folder))
    asked = [to_ask(folder, juror) for juror in jury]
    _tell_textless(asked, params)
    attempts, about = list[Attempts](), list[dict[str, Any]]()
    for juror, questions in zip(jury, asked, strict=True):
        each = source or sources.source(juror.params, [juror.by])  # loaded when the one before is gone
        attempts.append(asking.ask(questions, juror.by, juror.params, each))
        about.append({"policy": juror.by.about(), "engine": each.about()})
    usage = _sum(
        generate.usage([attempt.answers for attempt in each], juror.params)
        for each, juror in zip(attempts, jury, strict=True)
    )
    facts = about[0] if len(about) == 1 else {"jury": about}
    made = tables.metadata("judge", _settings(jury, params), _files(folder), usage=usage, **facts)
    file = tables.path(folder, "feedback")
    tables.check_unchanged(made["inputs"], before)
    verdicts = _write_comparisons(folder, jury, asked, attempts, made)
    more = [ASPECTS] if any(has_aspects(questions.judge) for questions in asked) else []
    tables.write_blocks(file, "feedback", _feedback(jury, asked, attempts), made, more)
    _tell_broken_off(file, jury, asked)
    return _made(file, attempts, usage, verdicts)


def _made(file: Path, attempts: Sequence[Attempts], usage: dict[str, float], verdicts: dict[str, float]) -> Made:
    attempted = tables.read(file, "feedback", judgements.READ)
    used = judgements.used(attempted)
    counts = dict(used.group_by("wim_status").len().iter_rows())
    missing, nothing, unreadable = (
        counts.get(str(status), 0) for status in (WimStatus.MISSING, WimStatus.NOTHING, WimStatus.UNREADABLE)
    )
    answers = sum(len(attempt.answers) for each in attempts for attempt in each) if verdicts else len(attempted)
    return Made(len(used), answers, missing, nothing, unreadable, usage, verdicts)


def _sum(each: Iterator[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for usage in each:
        total |= {name: total.get(name, 0) + count for name, count in usage.items()}
    return total


def _settings(jury: Sequence[Juror], params: Params) -> dict[str, Any]:
    """What the tables say of the parameters: models by their content, no paths."""
    blocks = [as_dict(juror.params.judge) | {"model": models.label(juror.by.model)} for juror in jury]
    block = as_dict(params.judge) | {"model": None, "jury": blocks} if params.judge.jury else blocks[0]
    engines = sorted({juror.params.engine.name for juror in jury})
    return {"judge": block, "engine": ", ".join(engines), "seed": params.seed}


def _tell_textless(asked: Sequence[Asked | Compared], params: Params) -> None:
    uses = ratings.load(params.rate.method, params).uses
    if "text" in uses and not any(has_text(questions.judge) for questions in asked):
        told = f"nobody says what is missing, and rate.method {params.rate.method} reads that"
        print(f"{told}: set it to numerical, say", file=sys.stderr)


def _tell_broken_off(feedback: Path, jury: Sequence[Juror], asked: Sequence[Asked | Compared]) -> None:
    """Texts of structured answers that may have been cut off in mid-sentence."""
    for juror, questions in zip(jury, asked, strict=True):
        settings = juror.params.judge
        if isinstance(questions, Compared) or not settings.structured:
            continue
        texts = full = 0
        for block in tables.batches(feedback, "feedback", ["judge", "wim"], rows.BLOCK):
            said = [text for text in block.filter(pl.col("judge") == juror.label)["wim"] if text]
            texts, full = texts + len(said), full + sum(questions.judge.fills(t, settings.max_tokens) for t in said)
        if full:
            told = f"{full:,} of {texts:,} texts are as long as judge.max_tokens ({settings.max_tokens}) lets them be"
            print(f"{told} and may end in mid-sentence: raise it", file=sys.stderr)


def to_ask(folder: Path, juror: Juror) -> Asked | Compared:
    """The run's completions and prompts, and the judge of the parameters."""
    files = _files(folder)
    prompts = tables.read(files["prompts"], "prompts", ["prompt_id", "messages"])
    _check(prompts, files)
    judge = panel.load(juror.params)
    if compares(judge):
        columns = [*judgements.COMPLETIONS, "index"]
        completions = tables.read(files["completions"], "completions", columns).sort("completion_id")
        return comparisons.compared(prompts, completions, judge, juror.params)
    columns = list(judgements.COMPLETIONS)
    blocks = partial(spans.blocks, files["completions"], "completions", columns, "completion_id", rows.BLOCK)
    return Asked(prompts, blocks, judge)


def _files(folder: Path) -> dict[str, Path]:
    return {name: tables.find(folder, name) for name in ("prompts", "completions")}


def _check(prompts: pl.DataFrame, files: Mapping[str, Path]) -> None:
    """Every completion's prompt must be known, with its text."""
    completions = tables.read(files["completions"], "completions", ["prompt_id"])
    asked_about = prompts.join(completions, on="prompt_id", how="semi")
    tables.check_prompted(asked_about, "judged")
    if completions["prompt_id"].n_unique() > len(asked_about):
        raise TableError(f"{files['completions']}: a completion's prompt is not in {files['prompts']}")


def _feedback(
    jury: Sequence[Juror], asked: Sequence[Asked | Compared], attempts: Sequence[Attempts]
) -> Iterator[pl.DataFrame]:
    """The feedback table in blocks, sorted by completion_id, judge, attempt: the judges' blocks side by side."""
    each = [
        comparisons.frames(questions, made, juror.label)
        if isinstance(questions, Compared)
        else frames(questions, made, juror.label)
        for juror, questions, made in zip(jury, asked, attempts, strict=True)
    ]
    if len(each) == 1:
        yield from each[0]
        return
    for blocks in zip(*each, strict=True):
        yield pl.concat(blocks, how="diagonal").sort("completion_id", "judge", "attempt")


def _write_comparisons(
    folder: Path,
    jury: Sequence[Juror],
    asked: Sequence[Asked | Compared],
    attempts: Sequence[Attempts],
    about: Mapping[str, Any],
) -> dict[str, float]:
    """Write comparisons.parquet, or remove one that is of other judges; what is to be told of the verdicts."""
    found = [
        comparisons.verdicts(questions, made, juror.label)
        for juror, questions, made in zip(jury, asked, attempts, strict=True)
        if isinstance(questions, Compared)
    ]
    file = tables.path(folder, "comparisons")
    if not found:
        file.unlink(missing_ok=True)
        return {}
    table = pl.concat(found).sort("prompt_id", "a", "b", "judge", "order", "attempt")
    tables.write(file, "comparisons", table, about)
    return comparisons.summary(table)
