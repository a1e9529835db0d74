"""Attempts at an answer: what a judge is asked, again where it cannot be read, until ``judge.attempts`` are made."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from builder import generate, rows
from builder.engines import Request, Sampling
from builder.errors import ParamsError
from builder.judges import Judge, PairJudge, can_structure
from builder.language.policy import Policy
from builder.params import Params
from builder.statuses import Reason

Found = TypeVar("Found", bound=generate.Answers, covariant=True)
Answer = Callable[[Iterator[Request], int, str], Found]
"""Gives the answers to so many requests; the text is what the progress line calls them."""


class Questions(Protocol):
    """What is asked of one judge, question by question in an order of their own."""

    def wanted(self) -> NDArray[np.bool_]:
        """For every question whether it is asked at all."""
        ...

    def requests(self, wanted: NDArray[np.bool_], attempt: int, by: Policy, params: Params) -> Iterator[Request]:
        """Those of the questions that are ``wanted``."""
        ...

    def again(self, answers: generate.Answers) -> list[bool]:
        """For every answer whether its question is to be asked again."""
        ...


@dataclass(frozen=True)
class Attempt(Generic[Found]):
    """``asked``: for every question whether it was asked; ``answers``: to those that were."""

    asked: NDArray[np.bool_]
    answers: Found


def ask(questions: Questions, by: Policy, params: Params, source: generate.Source) -> list[Attempt[rows.Rows]]:
    """All attempts, their answers kept by row."""

    def answer(requests: Iterator[Request], total: int, label: str) -> rows.Rows:
        return generate.generate("judge", requests, total, by, source, label)

    return attempts(questions, by, params, answer)


def attempts(questions: Questions, by: Policy, params: Params, answer: Answer[Found]) -> list[Attempt[Found]]:
    """Every wanted question is asked; those with unreadable answers up to ``judge.attempts`` times."""
    wanted = questions.wanted()
    made: list[Attempt[Found]] = []
    while wanted.any() and len(made) < params.judge.attempts:
        number = len(made)
        requests = questions.requests(wanted, number, by, params)
        made.append(Attempt(wanted, answer(requests, int(wanted.sum()), f"judge, attempt {number}")))
        wanted = wanted.copy()
        wanted[wanted] = questions.again(made[-1].answers)
    return made


def sampling(judge: Judge | PairJudge, params: Params, attempt: int) -> Sampling:
    """The first attempt as set; a retry is drawn at the retry temperature, or it would say the same again.

    Raises ParamsError for ``judge.structured`` with a judge that has no pattern.
    """
    settings = params.judge
    if settings.structured and not can_structure(judge):
        raise ParamsError(f"judge.structured: the judge {settings.name} has no pattern; leave it false, or write one")
    held = judge.pattern(settings.max_tokens) if settings.structured else None
    if attempt:
        return Sampling(settings.retry_temperature, settings.max_tokens, pattern=held)
    return Sampling(settings.temperature, settings.max_tokens, contrastive=settings.contrastive, pattern=held)


def answered(answers: generate.Answers) -> Iterator[tuple[str, str | None, Reason | None] | None]:
    """Answer by answer the text, how it ended, and why there is none; None where it was not answered yet."""
    for block in answers.blocks(columns=["text", "finish_reason", "reason"]):
        for text, finish_reason, reason in zip(*(column.to_pylist() for column in block.columns), strict=True):
            yield None if text is None else (text, finish_reason, Reason(reason) if reason else None)
