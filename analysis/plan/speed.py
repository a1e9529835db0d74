"""How fast: a trial of the run's own engines on its own prompts, on this machine. No row of it is kept.

Calls grow until the time is used up. Those of full batches count, or else the largest: by then the engine is warm.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import polars as pl

from analysis.plan.engine import devices, rows_together
from builder import complete, generate
from builder.encoder import Encoder
from builder.engines import Completion, Request
from builder.errors import EngineError
from builder.ids import completion_id
from builder.judges import Judge, PairJudge, compares
from builder.judging import comparisons, panel
from builder.judging.asking import Questions
from builder.judging.judged import Asked
from builder.judging.panel import Juror
from builder.language import policy
from builder.language.policy import Policy
from builder.params import Params

Item = TypeVar("Item")
GROWTH = 4.0
"""How many times as large as the last a call may be."""
TICK = 1e-6
"""Seconds that a call takes at least, so that a speed is a number."""
STAGES = 3
"""Complete, judge and embed share the time of a trial alike."""


@dataclass(frozen=True)
class Measured:
    """What counts of a trial: ``rows`` with means of ``read`` and ``tokens`` (embed: of what is read) in ``seconds``.

    ``start``: seconds until the model was loaded; ``repeated``: answers asked for, per judgement, if attempts fail as
    often as the first did; ``devices`` that worked together.
    """

    rows: int
    read: float
    tokens: float
    seconds: float
    start: float
    devices: int = 1
    repeated: float | None = None

    @property
    def rate(self) -> float:
        """Tokens per second of one device."""
        return self.rows * self.tokens / self.seconds / self.devices


@dataclass
class Trial:
    """What was measured, by stage (of several judges: by ``judge LABEL``), and by which machine."""

    machine: str
    measured: dict[str, Measured] = field(default_factory=dict)


def trial(prompts: pl.DataFrame, params: Params, jury: Mapping[str, Juror], seconds: float, gpus: int) -> Trial:
    """Complete, judge and embed for ``seconds`` in all, without what loading takes.

    ``prompts``: prompt_id, messages in the order in which they are tried. Raises EngineError where the engine made
    no token.
    """
    held = _Engines()
    share = seconds / STAGES
    by = policy.base(params.model)
    done = Trial(_machine())
    texts, done.measured["complete"] = _completed(prompts, by, params, held, share, gpus)
    said = list[str]()
    for name, juror in jury.items():
        answers, done.measured[name] = _judged(prompts, texts, juror, held, share / len(jury), gpus)
        said += answers
    held.close()
    done.measured["embed"] = _embedded([*texts["text"], *said], params, share)
    return done


class _Engines:
    """One engine at a time; the one that is loaded serves whoever wants the same."""

    def __init__(self) -> None:
        self.key: tuple[Any, ...] = ()
        self.engine: Any = None
        self.start = 0.0

    def get(self, params: Params, by: Policy) -> Any:
        key = (params.engine.name, by.model, by.revision)
        if key != self.key:
            self.close()
            began = time.perf_counter()
            self.engine = generate.Lazy(params, [by]).module.Engine(params, [by])
            self.key, self.start = key, time.perf_counter() - began
        return self.engine

    def close(self) -> None:
        self.key, self.engine = (), None


def _completed(
    prompts: pl.DataFrame, by: Policy, params: Params, held: _Engines, seconds: float, gpus: int
) -> tuple[pl.DataFrame, Measured]:
    """The completions that the trial made, columns completion_id, prompt_id, text, index, and how fast."""
    engine = held.get(params, by)
    batch = rows_together(params)
    made, calls = _timed(engine, complete.requests(prompts.iter_slices(256), by, params), seconds, batch)
    places = ((prompt, i) for prompt in prompts["prompt_id"] for i in range(params.complete.n))
    rows = [
        (completion_id(*place), place[0], completion.text, place[1])
        for place, completion in zip(places, made, strict=False)
        if completion.reason is None
    ]
    schema = {"completion_id": pl.String, "prompt_id": pl.String, "text": pl.String, "index": pl.Int16}
    texts = pl.DataFrame(rows, schema=pl.Schema(schema), orient="row").sort("completion_id")
    return texts, _measured(calls, held.start, batch, devices(params, gpus), "complete")


def _judged(
    prompts: pl.DataFrame, texts: pl.DataFrame, juror: Juror, held: _Engines, seconds: float, gpus: int
) -> tuple[list[str], Measured]:
    """What was said to be missing, and how fast."""
    params, judge = juror.params, panel.load(juror.params)
    questions: Questions
    if compares(judge):
        questions = comparisons.compared(prompts, texts, judge, params)
    else:
        questions = Asked(prompts, lambda: iter([texts.drop("index")]), judge)
    wanted = questions.wanted()
    if not wanted.any():
        raise EngineError(f"trial: there is nothing to judge in {len(texts):,} completions; try a longer --trial")
    engine = held.get(params, juror.by)
    batch = rows_together(params)
    answers, calls = _timed(engine, questions.requests(wanted, 0, juror.by, params), seconds, batch)
    again = questions.again(generate.InMemory(enumerate(answers), len(answers)))
    measured = _measured(calls, held.start, batch, devices(params, gpus), "judge")
    repeated = sum((sum(again) / len(again)) ** attempt for attempt in range(params.judge.attempts))
    return _said(judge, answers), dataclasses.replace(measured, repeated=repeated)


def _said(judge: Judge | PairJudge, answers: Sequence[Completion]) -> list[str]:
    """The texts on what is missing; a judge that compares gives none."""
    if compares(judge):
        return []
    read = (judge.read(answer.text, answer.finish_reason).wim for answer in answers if answer.reason is None)
    return [wim for wim in read if wim]


def _embedded(texts: Sequence[str], params: Params, seconds: float) -> Measured:
    encoder = Encoder(params.embed)
    began = time.perf_counter()
    encoder(["A text that loads the model."])
    start = time.perf_counter() - began

    def work(some: Sequence[str]) -> tuple[int, int]:
        tokens = sum(encoder(some)["tokens"].to_pylist())
        return tokens, tokens

    batch = params.embed.batch_size
    return _measured(grown(iter(dict.fromkeys(texts)), work, seconds, batch), start, batch, 1, "embed")


@dataclass(frozen=True)
class Call:
    """``rows`` that were worked on together, tokens generated and read, and the seconds that it took."""

    rows: int
    tokens: int
    read: int
    seconds: float


def _timed(engine: Any, requests: Iterator[Request], seconds: float, batch: int) -> tuple[list[Completion], list[Call]]:
    """The engine's answers in the order of their requests, and its calls."""
    answers = list[Completion]()

    def work(some: Sequence[Request]) -> tuple[int, int]:
        found = dict(engine.generate(some))
        made = [found[place] for place in range(len(some))]
        answers.extend(made)
        return sum(each.tokens for each in made), sum(each.prompt_tokens for each in made)

    return answers, grown(requests, work, seconds, batch)


def grown(
    items: Iterator[Item], work: Callable[[Sequence[Item]], tuple[int, int]], seconds: float, batch: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Call]:  # fmt: skip
    """Calls of ``work`` (tokens made and read) on 1 item, 4, 16 and so on, as long as a further one has the time.

    The last of them is cut to the time that is left, none to a part of a ``batch`` beside full ones. The first is made
    whatever it takes.
    """
    calls, left, size = list[Call](), seconds, 1
    while some := list(itertools.islice(items, size)):
        began = clock()
        tokens, read = work(some)
        took = max(clock() - began, TICK)
        calls.append(Call(len(some), tokens, read, took))
        left -= took
        if left < took:
            break
        size = int(len(some) * min(GROWTH, left / took))
        size -= size % batch if size > batch else 0
    return calls


def counted(calls: Sequence[Call], batch: int) -> Call:
    """All calls of a full ``batch`` together, or else the largest one."""
    full = [call for call in calls if call.rows >= batch > 1]
    full = full or [max(calls, key=lambda call: call.rows)]
    parts = zip(*((call.rows, call.tokens, call.read, call.seconds) for call in full), strict=True)
    rows, tokens, read, seconds = (sum(part) for part in parts)
    return Call(int(rows), int(tokens), int(read), seconds)


def _measured(calls: Sequence[Call], start: float, batch: int, devices: int, stage: str) -> Measured:
    found = counted(calls, batch) if calls else Call(0, 0, 0, 0.0)
    if not found.tokens:
        raise EngineError(f"trial: {stage} had no token in {found.rows:,} rows; try a longer --trial")
    return Measured(found.rows, found.read / found.rows, found.tokens / found.rows, found.seconds, start, devices)


def _machine() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "no GPU: its processor counts as one"
