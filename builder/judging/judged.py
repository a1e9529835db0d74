"""Completions judged one by one: what is asked about each, and the rows of feedback that come of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder import generate, ids, judgements, tables
from builder.engines import Request
from builder.ids import canonical_json
from builder.judges import Judge, Reading, has_aspects
from builder.judging import asking
from builder.judging.asking import Attempt
from builder.language.policy import Policy
from builder.params import Params
from builder.statuses import RatingStatus, Reason, WimStatus


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

    def wanted(self) -> NDArray[np.bool_]:
        """Every completion that holds text."""
        return np.concatenate([np.empty(0, np.bool_), *((~empty(b)).to_numpy() for b in self.blocks())])

    def requests(self, wanted: NDArray[np.bool_], attempt: int, by: Policy, params: Params) -> Iterator[Request]:
        """As ``asking.Questions``."""
        sampling, start = asking.sampling(self.judge, params, attempt), 0
        for block in self.blocks():
            chosen = block.filter(wanted[start : start + len(block)])
            for name, text, messages in chosen.select("completion_id", "text", "messages").iter_rows():
                seed = ids.seed_of(params.seed, name, attempt)
                yield Request(tuple(self.judge.messages(messages, text)), by, seed, sampling)
            start += len(block)

    def again(self, answers: generate.Answers) -> list[bool]:
        """As ``asking.Questions``."""
        return [_again(said) for said in _read(self.judge, answers)]


def empty(block: pl.DataFrame) -> pl.Series:
    """For every completion whether there is nothing to judge."""
    return block.select(judgements.is_empty(pl.col("text"))).to_series()


Said = tuple[str | None, Reading]
"""The judge's words, and what was read in them."""
EMPTY: Said = (None, Reading(None, WimStatus.UNREADABLE, None, RatingStatus.ABSENT, Reason.EMPTY_COMPLETION))


def _again(said: Said | None) -> bool:
    """A completion beyond the context is not mended by asking again; one without an answer was not asked yet.

    Of a judge that gives no text its number must be readable.
    """
    if said is None or said[1].reason == Reason.TOO_LONG:
        return False
    status, number = said[1].wim_status, said[1].rating_status
    return status == WimStatus.UNREADABLE or (status == WimStatus.ABSENT and number == RatingStatus.UNREADABLE)


def _read(judge: Judge, answers: generate.Answers) -> Iterator[Said | None]:
    """Answer by answer what was said; None where there is no answer."""
    for answer in asking.answered(answers):
        if answer is None:
            yield None
        else:
            text, finish_reason, reason = answer
            yield text, _unread(reason) if reason else judge.read(text, finish_reason)


def _unread(reason: Reason) -> Reading:
    return Reading(None, WimStatus.UNREADABLE, None, RatingStatus.UNREADABLE, reason)


def frames(asked: Asked, attempts: Sequence[Attempt[generate.Answers]], name: str) -> Iterator[pl.DataFrame]:
    """The feedback table in blocks, sorted by completion_id, judge, attempt; an empty completion is not asked about.

    Of a judge that gives aspects with the column ``aspects``.
    """
    answers = [_read(asked.judge, attempt.answers) for attempt in attempts]
    start = 0
    for block in asked.blocks():
        told: list[tuple[str, int, Said]] = []
        for i, (completion, nothing) in enumerate(zip(block["completion_id"], empty(block), strict=True), start):
            said = {k: next(answers[k]) for k, attempt in enumerate(attempts) if attempt.asked[i]}
            said = {0: EMPTY} if nothing else said
            told += [(completion, k, words) for k, words in said.items() if words]
        start += len(block)
        frame = _frame(told, name)
        yield frame.with_columns(_aspects(told)) if has_aspects(asked.judge) else frame


def _frame(told: Sequence[tuple[str, int, Said]], judge: str) -> pl.DataFrame:
    said = [
        (name, judge, attempt, raw, r.rating, r.rating_status, r.wim, r.wim_status, r.reason, None, None)
        for name, attempt, (raw, r) in told
    ]
    return pl.DataFrame(said, schema=pl.Schema(tables.SCHEMAS["feedback"]), orient="row")


def _aspects(told: Sequence[tuple[str, int, Said]]) -> pl.Series:
    numbers = (reading.aspects for _, _, (_, reading) in told)
    return pl.Series("aspects", [canonical_json(dict(each)) if each else None for each in numbers], pl.String)
