"""Judging by a hosted batch service: its requests as a file, and its results as the engine's answers.

``export`` writes what has no answer yet, ``import_results`` reads results. Both know a request by the same name, the
hexadecimal key of its row, so that nothing has to be remembered between them.
"""

import contextlib
import dataclasses
import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from builder import generate, ids, judge, records, rows, tables
from builder.engines import Completion, Request
from builder.errors import EngineError, InputError, ParamsError
from builder.judging import asking, panel
from builder.judging.asking import Attempt
from builder.judging.batch_results import Failure, Result, results
from builder.language import chat, control
from builder.language.chat import Message
from builder.language.policy import Policy
from builder.params import Params
from builder.records import Bad

LIMITS = {"openai": (50_000, 200_000_000), "anthropic": (100_000, 256_000_000)}
"""Requests and bytes that a service takes at a time."""
HOTTEST = {"openai": 2.0, "anthropic": 1.0}
"""The highest temperature that a service takes."""


@dataclass(frozen=True)
class Exported:
    """``answered``: requests that had an answer already; ``escaped``: control strings in those that are written.

    ``others``: files of earlier exports under the same name, which hold no request of this one.
    """

    files: list[Path]
    others: list[Path]
    requests: int
    answered: int
    escaped: int
    format: str


@dataclass(frozen=True)
class Failures:
    """Requests that the service did not answer, and what it said to the first of them."""

    count: int
    first: str


@dataclass
class Imported:
    """Result lines by what became of them, and the judgements that are there now.

    ``answers``: lines whose text counts; ``duplicates``: further texts for the same request; ``unmatched``:
    lines of no request of this run; ``bad``: lines that are no result at all; ``unanswered``: requests that
    are still open, which is what the next export writes.
    """

    answers: int = 0
    duplicates: int = 0
    unmatched: int = 0
    bad: int = 0
    errors: dict[str, Failures] = field(default_factory=dict)
    unanswered: int = 0
    judgements: int = 0
    missing: int = 0
    nothing: int = 0
    unreadable: int = 0
    usage: dict[str, float] = field(default_factory=dict)


Take = Callable[[Iterator[Request]], Iterator[tuple[int, Completion]]]


@dataclass
class Service:
    """Where answers come from: ``take`` gets the requests that have none yet, and may leave them so."""

    extra_body: Mapping[str, Any]
    take: Take
    partial = True

    def generate(self, requests: Iterator[Request]) -> Iterator[tuple[int, Completion]]:
        return self.take(requests)

    def about(self) -> dict[str, Any]:
        return {"name": "batch", "settings": {"extra_body": dict(self.extra_body)}, "versions": {}}

    def settings(self, by: Policy) -> dict[str, Any]:
        return {"engine": "batch", "settings": {"extra_body": dict(self.extra_body)}, "policy": by.about()}


def _nobody(requests: Iterator[Request]) -> Iterator[tuple[int, Completion]]:
    """Nobody answers: what is kept is all there is. Requests are read to the end, as rows are found by them."""
    for _ in requests:
        pass
    return iter(())


def _settled(params: Params) -> Params:
    """The parameters of a judge at a service. Raises ParamsError or EngineError for what none of them can do."""
    if params.judge.jury:
        raise ParamsError("judge.jury: a batch service is one judge; export and import each judge in a run of its own")
    if not params.judge.model:
        raise ParamsError("judge.model is not set: give it the model's name at the service")
    if params.judged_by != "base":
        raise ParamsError(f"judged_by is {params.judged_by}, but a service judges with judge.model; set it to base")
    if params.judge.contrastive:
        raise EngineError("batch services have no contrastive search; set judge.contrastive to null")
    if params.judge.structured:
        raise EngineError("batch services take no regular expressions; set judge.structured to false")
    engine = dataclasses.replace(params.engine, name="batch")
    return dataclasses.replace(params, engine=engine, judge=dataclasses.replace(params.judge, engine=None))


def _ask(folder: Path, params: Params, take: Take) -> list[Attempt[rows.Rows]]:
    """Every attempt that is due, with the answers that are kept or that ``take`` gives."""
    (juror,) = panel.panel(params)
    service = Service(params.engine.endpoint.extra_body, take)
    return asking.ask(judge.to_ask(folder, juror), juror.by, juror.params, service)


def export(folder: Path, params: Params, file: Path, format: str) -> Exported:
    """Write every request that has no answer yet, for ``openai`` or ``anthropic``; nothing if there is none.

    Beyond the service's limits FILE.jsonl becomes FILE-1.jsonl, FILE-2.jsonl and so on. Raises EngineError
    for what the service cannot do and TableError if a file cannot be written.
    """
    params = _settled(params)
    with _files(file, *LIMITS[format]) as out:
        attempts = _ask(folder, params, functools.partial(_write, out, format, params.engine.endpoint.extra_body))
        written = out.publish()
    answered = sum(len(attempt.answers) - attempt.answers.missing() for attempt in attempts)
    return Exported(written, _others(file, written), out.requests, answered, out.escaped, format)


def _others(file: Path, written: Sequence[Path]) -> list[Path]:
    """Files of earlier exports under the same name, which nobody should pay for once more."""
    name = re.compile(rf"{re.escape(file.stem)}(-\d+)?{re.escape(file.suffix)}")
    beside = file.parent.iterdir() if file.parent.is_dir() else ()
    return sorted(other for other in beside if name.fullmatch(other.name) and other not in written)


class _Files:
    """JSONL in as many files as the limits ask for; they have temporary names until all is written."""

    def __init__(self, file: Path, most: int, largest: int) -> None:
        self.file, self.most, self.largest = file, most, largest
        self.temporary: list[Path] = []
        self.out: IO[bytes] | None = None
        self.room = (0, 0)
        self.requests = self.escaped = 0

    def write(self, line: bytes) -> None:
        requests, size = self.room
        with tables.told(self.file):
            if self.out is None or requests == 0 or len(line) > size:
                self.out = self._next()
                requests, size = self.most, self.largest
            self.out.write(line)
        self.room = requests - 1, size - len(line)
        self.requests += 1

    def _next(self) -> IO[bytes]:
        self.close()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.temporary.append(self.file.with_name(f".{self.file.name}.{os.getpid()}.{len(self.temporary)}.tmp"))
        return self.temporary[-1].open("wb")

    def close(self) -> None:
        if self.out:
            self.out.close()

    def publish(self) -> list[Path]:
        with tables.told(self.file):
            self.close()
            for temporary, name in zip(self.temporary, self._names(), strict=True):
                tables.publish_file(temporary, name)
        return self._names()

    def _names(self) -> list[Path]:
        if len(self.temporary) == 1:
            return [self.file]
        numbers = range(1, len(self.temporary) + 1)
        return [self.file.with_name(f"{self.file.stem}-{number}{self.file.suffix}") for number in numbers]


@contextlib.contextmanager
def _files(file: Path, most: int, largest: int) -> Iterator[_Files]:
    out = _Files(file, most, largest)
    try:
        yield out
    finally:
        with contextlib.suppress(OSError):  # of a full disk, which was told already
            out.close()
        for temporary in out.temporary:
            temporary.unlink(missing_ok=True)


def _write(
    out: _Files, format: str, extra_body: dict[str, Any], requests: Iterator[Request]
) -> Iterator[tuple[int, Completion]]:
    for key, request in _distinct(requests):
        messages, escaped = _escaped(request.messages)
        body = {"model": request.policy.model} | _BODIES[format](request, messages) | extra_body
        body = {name: value for name, value in body.items() if value is not None}
        _check_temperature(body.get("temperature", 0), format)
        # ASCII, so that no client makes it larger or finds a line's end within it.
        out.write(json.dumps(_ENVELOPES[format](key.hex(), body), separators=(",", ":")).encode() + b"\n")
        out.escaped += escaped
    return iter(())


def _distinct(requests: Iterable[Request]) -> Iterator[tuple[bytes, Request]]:
    """Equal requests have one seed, that of their completion and attempt, and so they lie side by side."""
    seed, seen = -1, set[bytes]()
    for request in requests:
        if request.seed != seed:
            seed, seen = request.seed, set()
        key = generate.key(request)
        if key not in seen:
            seen.add(key)
            yield key, request


def _escaped(messages: Sequence[Message]) -> tuple[list[Message], int]:
    """Messages in which no text can pass for a turn's end, and how many control strings they held."""
    for message in messages:
        if message["role"] not in chat.ROLES:  # templates write it between control strings
            raise EngineError(f"a message has the role {message['role']!r}, which no chat template knows")
    texts = [control.escape(message["content"]) for message in messages]
    turns = [Message(role=m["role"], content=text) for m, (text, _) in zip(messages, texts, strict=True)]
    return turns, sum(count for _, count in texts)


def _openai(request: Request, messages: Sequence[Message]) -> dict[str, Any]:
    """A chat completion; the seed says nothing where nothing is drawn."""
    sampling = request.sampling
    body = {"messages": messages, "max_completion_tokens": sampling.max_tokens, "temperature": sampling.temperature}
    return body | ({"seed": ids.folded(request.seed)} if sampling.temperature else {})


def _anthropic(request: Request, messages: Sequence[Message]) -> dict[str, Any]:
    """A message; the system's turn stands beside the others, and there are no seeds."""
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    turns = [message for message in messages if message["role"] != "system"]
    sampling = request.sampling
    body = {"messages": turns, "max_tokens": sampling.max_tokens, "temperature": sampling.temperature}
    return ({"system": system} if system else {}) | body


_BODIES = {"openai": _openai, "anthropic": _anthropic}
_ENVELOPES: dict[str, Callable[[str, Mapping[str, Any]], dict[str, Any]]] = {
    "openai": lambda key, body: {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body},
    "anthropic": lambda key, body: {"custom_id": key, "params": body},
}


def _check_temperature(temperature: Any, format: str) -> None:
    if isinstance(temperature, (int, float)) and temperature > HOTTEST[format]:
        raise EngineError(
            f"{format} takes temperatures up to {HOTTEST[format]:g}, not {temperature:g}:"
            " lower judge.temperature and judge.retry_temperature"
        )


def import_results(folder: Path, params: Params, files: Sequence[Path]) -> Imported:
    """Keep the answers of result files, and write feedback.parquet from all answers there are.

    Memory: about 1 kB for each request, no texts. Raises InputError if a file cannot be
    read to its end, or if none of its lines belongs to a request of the run.
    """
    params = _settled(params)
    for file in files:
        records.read(file)  # raises for one that is not there, before anything is worked out
    attempts = _ask(folder, params, functools.partial(_answers, files))
    account = _account(files, attempts)
    _check_matched(account, attempts, folder, files)
    made = judge.run(folder, params, source=Service(params.engine.endpoint.extra_body, _nobody))
    account.unanswered = sum(attempt.answers.missing() for attempt in attempts)
    account.judgements, account.usage = made.judgements, made.usage
    account.missing, account.nothing, account.unreadable = made.missing, made.nothing, made.unreadable
    return account


def _answers(files: Sequence[Path], requests: Iterator[Request]) -> Iterator[tuple[int, Completion]]:
    """The first answer to each of the requests, in the order of the files."""
    open_: dict[str, tuple[int, int]] = {}
    for place, request in enumerate(requests):
        open_[generate.key(request).hex()] = place, _escaped(request.messages)[1]
    for result in results(files) if open_ else ():
        if isinstance(result, Result) and isinstance(result.outcome, Completion) and result.name in open_:
            place, escaped = open_.pop(result.name)
            yield place, dataclasses.replace(result.outcome, escaped=escaped)


def _account(files: Sequence[Path], attempts: Sequence[Attempt[rows.Rows]]) -> Imported:
    """What became of each line; those that are no result are told on stderr."""
    kept, account = dict(_kept(attempts)), Imported()
    for result in results(files):
        if isinstance(result, Bad):
            account.bad += 1
            _tell(result, account.bad)
        elif result.name not in kept:
            account.unmatched += 1
        elif isinstance(result.outcome, Failure):
            before = account.errors.get(result.outcome.kind, Failures(0, result.outcome.message))
            account.errors[result.outcome.kind] = Failures(before.count + 1, before.first)
        elif hash(result.outcome.text) == kept[result.name]:
            account.answers += 1
        else:
            account.duplicates += 1
    return account


def _kept(attempts: Sequence[Attempt[rows.Rows]]) -> Iterator[tuple[str, int | None]]:
    """Each request's name, and the hash of its answer; None without one."""
    for attempt in attempts:
        names = attempt.answers.keys.astype(">u8").tobytes().hex()
        texts = (text for block in attempt.answers.blocks(columns=["text"]) for text in block["text"].to_pylist())
        for start, text in zip(range(0, len(names), 2 * rows.KEY), texts, strict=True):
            yield names[start : start + 2 * rows.KEY], None if text is None else hash(text)


def _tell(bad: Bad, number: int) -> None:
    if number <= records.SHOWN:
        print(f"not a result: {bad}", file=sys.stderr)
    elif number == records.SHOWN + 1:
        print("not a result: further lines are only counted", file=sys.stderr)


def _check_matched(
    account: Imported, attempts: Sequence[Attempt[rows.Rows]], folder: Path, files: Sequence[Path]
) -> None:
    names = ", ".join(map(str, files))
    failed = sum(failures.count for failures in account.errors.values())
    if not account.answers + account.duplicates + failed:
        raise InputError(
            f"{names}: nothing matches a request of {folder} ({account.unmatched:,} results of other requests,"
            f" {account.bad:,} bad lines); were judge, seed and sampling the same when it was exported?"
        )
    if all(attempt.answers.missing() == len(attempt.answers) for attempt in attempts):
        kind, first = next(iter(account.errors.items()))
        raise InputError(f"{names}: no answer, {failed:,} errors; the first is {kind}: {first.first}")


def text(result: Exported | Imported) -> str:
    """The result in words, with what to do next."""
    return _exported(result) if isinstance(result, Exported) else _imported(result)


def _exported(result: Exported) -> str:
    earlier = [f"from an earlier export, not to be sent again: {file}" for file in result.others]
    if not result.requests:
        return "\n".join([f"nothing to export: every request has its answer ({result.answered:,})", *earlier])
    most, largest = LIMITS[result.format]
    split = f"the service takes {most:,} requests or {largest / 1e6:,.0f} MB at a time"
    lines = [
        f"{result.requests:,} requests for {result.format}; {result.answered:,} have an answer already",
        *(f"  {file}" for file in result.files),
        f"{len(result.files)} files: {split}" if len(result.files) > 1 else "",
        f"{result.escaped:,} control strings of chat templates escaped" if result.escaped else "",
        *earlier,
    ]
    return "\n".join(filter(None, lines))


def _imported(result: Imported) -> str:
    lines = [
        f"{result.answers:,} answers; {result.judgements:,} judgements: {result.missing:,} missing,"
        f" {result.nothing:,} nothing, {result.unreadable:,} unreadable",
        *(f"{failures.count:,} x {kind}: {failures.first}".rstrip(": ") for kind, failures in result.errors.items()),
        f"{result.unmatched:,} results belong to no request of this run" if result.unmatched else "",
        f"{result.duplicates:,} further answers to a request that has one: left out" if result.duplicates else "",
        f"{result.bad:,} lines are no results" if result.bad else "",
        f"{result.unanswered:,} requests are open (without an answer, or to be asked again):"
        " `wim judge RUN --export FILE` writes them"
        if result.unanswered
        else "",
    ]
    return "\n".join(filter(None, lines))
