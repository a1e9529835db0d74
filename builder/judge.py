"""judge: completions -> feedback.parquet. Every attempt is kept; the judge's words stay beside the reading."""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder import generate, ids, judgements, models, plugins, policy, rows, tables
from builder.blocks import as_dict
from builder.engines import Request, Sampling
from builder.errors import TableError
from builder.judges import Judge, Reading
from builder.params import Model, Params
from builder.policy import Policy
from builder.statuses import RatingStatus, Reason, WimStatus


@dataclass(frozen=True)
class Made:
    """Judgements by what their text is; ``attempts`` counts every answer asked for, ``usage`` what they took."""

    judgements: int
    attempts: int
    missing: int
    nothing: int
    unreadable: int
    usage: dict[str, float]


def run(folder: Path, params: Params, policy_folder: Path | None = None, source: generate.Source | None = None) -> Made:
    """Write feedback.parquet. ``judged_by``: ``base``, ``current`` (the policy of ``policy_folder``) or a model.

    ``source``: where answers come from, if not from the engine of the parameters.
    """
    params, by = who(params, policy_folder)
    before = tables.fingerprints(_files(folder))
    asked = to_ask(folder, params)
    source = source or generate.Lazy(params, [by])
    attempts = ask(asked, by, params, source)
    usage = generate.usage([attempt.answers for attempt in attempts], params)
    settings = {
        "judge": as_dict(params.judge) | {"model": models.label(by.model)},
        "engine": params.engine.name,
        "seed": params.seed,
    }
    about = tables.metadata("judge", settings, _files(folder), policy=by.about(), usage=usage, engine=source.about())
    file = tables.path(folder, "feedback")
    tables.check_unchanged(about["inputs"], before)
    tables.write_blocks(file, "feedback", frames(asked, attempts, params.judge.name), about)
    if params.judge.structured:
        _tell_broken_off(file, asked.judge, params)
    attempted = tables.read(file, "feedback", judgements.READ)
    used = judgements.used(attempted)
    counts = dict(used.group_by("wim_status").len().iter_rows())
    missing, nothing, unreadable = (
        counts.get(str(status), 0) for status in (WimStatus.MISSING, WimStatus.NOTHING, WimStatus.UNREADABLE)
    )
    return Made(len(used), len(attempted), missing, nothing, unreadable, usage)


def _tell_broken_off(feedback: Path, judge: Judge, params: Params) -> None:
    texts = full = 0
    for block in tables.read_blocks(feedback, "feedback", ["completion_id", "wim"], "completion_id", rows.BLOCK):
        said = [text for text in block["wim"] if text]
        texts, full = texts + len(said), full + sum(judge.fills(text, params.judge.max_tokens) for text in said)
    if full:
        told = f"{full:,} of {texts:,} texts are as long as judge.max_tokens ({params.judge.max_tokens}) lets them be"
        print(f"{told} and may end in mid-sentence: raise it", file=sys.stderr)


def to_ask(folder: Path, params: Params) -> "Asked":
    """The run's completions and prompts, and the judge of the parameters."""
    files = _files(folder)
    prompts = tables.read(files["prompts"], "prompts", ["prompt_id", "messages"])
    _check(prompts, files)
    columns = judgements.COMPLETIONS
    completions = partial(tables.read_blocks, files["completions"], "completions", columns, "completion_id", rows.BLOCK)
    return Asked(prompts, completions, plugins.load("judges", params.judge.name).Judge(params.rating.scale))


def _files(folder: Path) -> dict[str, Path]:
    return {name: tables.find(folder, name) for name in ("prompts", "completions")}


def _check(prompts: pl.DataFrame, files: Mapping[str, Path]) -> None:
    """Every completion's prompt must be known, with its text."""
    completions = tables.read(files["completions"], "completions", ["prompt_id"])
    asked_about = prompts.join(completions, on="prompt_id", how="semi")
    tables.check_prompted(asked_about, "judged")
    if completions["prompt_id"].n_unique() > len(asked_about):
        raise TableError(f"{files['completions']}: a completion's prompt is not in {files['prompts']}")


def who(params: Params, policy_folder: Path | None) -> tuple[Params, Policy]:
    """The parameters with the judge's own engine, and the policy that judges."""
    if params.judge.engine:
        params = dataclasses.replace(params, engine=dataclasses.replace(params.engine, name=params.judge.engine))
    model = Model(params.judge.model) if params.judge.model else params.model
    if params.judged_by == "base":
        return params, policy.base(model)
    if params.judged_by == "current":
        return params, policy.read(policy_folder, params.model)
    return params, policy.base(Model(params.judged_by))


@dataclass(frozen=True)
class Asked:
    """What is judged, and by which words: ``completions`` gives the table anew in blocks sorted by completion_id."""

    prompts: pl.DataFrame
    completions: Callable[[], Iterator[pl.DataFrame]]
    judge: Judge

    def blocks(self) -> Iterator[pl.DataFrame]:
        """Columns completion_id, text, messages."""
        for block in self.completions():
            yield block.join(self.prompts, on="prompt_id", how="left", maintain_order="left")


Found = TypeVar("Found", bound=generate.Answers, covariant=True)
Answer = Callable[[Iterator[Request], int, str], Found]
"""Gives the answers to so many requests; the text is what the progress line calls them."""


@dataclass(frozen=True)
class Attempt(Generic[Found]):
    """``asked``: for every completion whether it was asked about; ``answers``: of those that were."""

    asked: NDArray[np.bool_]
    answers: Found


def ask(asked: Asked, by: Policy, params: Params, source: generate.Source) -> list[Attempt[rows.Rows]]:
    """All attempts, their answers kept by row."""

    def answer(requests: Iterator[Request], total: int, label: str) -> rows.Rows:
        return generate.generate("judge", requests, total, by, source, label)

    return attempts(asked, by, params, answer)


def attempts(asked: Asked, by: Policy, params: Params, answer: Answer[Found]) -> list[Attempt[Found]]:
    """Every completion that holds text is asked about; unreadable answers up to ``judge.attempts`` times."""
    wanted = np.concatenate([np.empty(0, np.bool_), *((~_empty(b)).to_numpy() for b in asked.blocks())])
    made: list[Attempt[Found]] = []
    while wanted.any() and len(made) < params.judge.attempts:
        number = len(made)
        requests = _requests(asked, wanted, number, by, params)
        made.append(Attempt(wanted, answer(requests, int(wanted.sum()), f"judge, attempt {number}")))
        wanted = wanted.copy()
        wanted[wanted] = [_to_ask_again(said) for said in _read(asked.judge, made[-1].answers)]
    return made


def _empty(block: pl.DataFrame) -> pl.Series:
    return block.select(judgements.is_empty(pl.col("text"))).to_series()


def _to_ask_again(said: "Said | None") -> bool:
    """A completion beyond the context is not mended by asking again; one without an answer was not asked yet."""
    reading = said[1] if said else None
    return bool(reading and reading.wim_status == WimStatus.UNREADABLE and reading.reason != Reason.TOO_LONG)


def _requests(asked: Asked, wanted: NDArray[np.bool_], attempt: int, by: Policy, params: Params) -> Iterator[Request]:
    sampling, start = _sampling(asked.judge, params, attempt), 0
    for block in asked.blocks():
        chosen = block.filter(wanted[start : start + len(block)])
        for name, text, messages in chosen.select("completion_id", "text", "messages").iter_rows():
            seed = ids.seed_of(params.seed, name, attempt)
            yield Request(tuple(asked.judge.messages(messages, text)), by, seed, sampling)
        start += len(block)


def _sampling(judge: Judge, params: Params, attempt: int) -> Sampling:
    """The first attempt as set; a retry is drawn at the retry temperature, or it would say the same again."""
    settings = params.judge
    pattern = judge.pattern(settings.max_tokens) if settings.structured else None
    if attempt:
        return Sampling(settings.retry_temperature, settings.max_tokens, pattern=pattern)
    return Sampling(settings.temperature, settings.max_tokens, contrastive=settings.contrastive, pattern=pattern)


Said = tuple[str | None, Reading]
"""The judge's words, and what was read in them."""
EMPTY: Said = (None, Reading(None, WimStatus.UNREADABLE, None, RatingStatus.ABSENT, Reason.EMPTY_COMPLETION))


def _read(judge: Judge, answers: generate.Answers) -> Iterator[Said | None]:
    """Answer by answer what was said; None where there is no answer."""
    for block in answers.blocks(columns=["text", "finish_reason", "reason"]):
        for text, finish_reason, reason in zip(*(column.to_pylist() for column in block.columns), strict=True):
            if text is None:
                yield None
            else:
                yield text, _unread(reason) if reason else judge.read(text, finish_reason)


def _unread(reason: str) -> Reading:
    return Reading(None, WimStatus.UNREADABLE, None, RatingStatus.UNREADABLE, Reason(reason))


def frames(asked: Asked, attempts: Sequence[Attempt[generate.Answers]], name: str) -> Iterator[pl.DataFrame]:
    """The feedback table in blocks, sorted by completion_id, judge, attempt; an empty completion is not asked about."""
    answers = [_read(asked.judge, attempt.answers) for attempt in attempts]
    start = 0
    for block in asked.blocks():
        told: list[tuple[str, int, Said]] = []
        for i, (completion, empty) in enumerate(zip(block["completion_id"], _empty(block), strict=True), start):
            said = {k: next(answers[k]) for k, attempt in enumerate(attempts) if attempt.asked[i]}
            said = {0: EMPTY} if empty else said
            told += [(completion, k, words) for k, words in said.items() if words]
        start += len(block)
        yield _frame(told, name)


def _frame(told: Sequence[tuple[str, int, Said]], judge: str) -> pl.DataFrame:
    said = [
        (name, judge, attempt, raw, r.rating, r.rating_status, r.wim, r.wim_status, r.reason, None, None)
        for name, attempt, (raw, r) in told
    ]
    return pl.DataFrame(said, schema=pl.Schema(tables.SCHEMAS["feedback"]), orient="row")
