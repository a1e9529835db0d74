"""Judging by a hosted batch service: its requests as a file, and its results as the engine's answers.

``export`` writes what has no answer yet, ``import_results`` reads results. Both know a request by the same name, the
hexadecimal key of its row, so that nothing has to be remembered between them.
"""

import dataclasses
import functools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder import generate, judge, records, rows
from builder.engines import Completion, Request
from builder.errors import EngineError, InputError, ParamsError
from builder.judging import asking, panel
from builder.judging.asking import Attempt
from builder.judging.batch_files import Files, limited
from builder.judging.batch_requests import LIMITS, escaped_messages, line
from builder.judging.batch_results import Failure, Result, results
from builder.language.policy import Policy
from builder.params import Params
from builder.records import Bad


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
    with limited(file, *LIMITS[format]) as out:
        attempts = _ask(folder, params, functools.partial(_write, out, format, params.engine.endpoint.extra_body))
        written = out.publish()
    answered = sum(len(attempt.answers) - attempt.answers.missing() for attempt in attempts)
    return Exported(written, _others(file, written), out.requests, answered, out.escaped, format)


def _others(file: Path, written: Sequence[Path]) -> list[Path]:
    """Files of earlier exports under the same name, which nobody should pay for once more."""
    name = re.compile(rf"{re.escape(file.stem)}(-\d+)?{re.escape(file.suffix)}")
    beside = file.parent.iterdir() if file.parent.is_dir() else ()
    return sorted(other for other in beside if name.fullmatch(other.name) and other not in written)


def _write(
    out: Files, format: str, extra_body: dict[str, Any], requests: Iterator[Request]
) -> Iterator[tuple[int, Completion]]:
    for key, request in _distinct(requests):
        written, escaped = line(request, key.hex(), format, extra_body)
        out.write(written)
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
        open_[generate.key(request).hex()] = place, escaped_messages(request.messages)[1]
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
