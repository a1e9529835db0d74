"""ingest: someone's completions and feedback -> prompts, completions and feedback tables.

One record is one judgement. Bad records are reported, counted and kept in rejected.jsonl; a rating
that cannot be read is no bad record, since the text still counts.
"""

import difflib
import functools
import itertools
import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from builder import ids, panel, records, tables
from builder.chat import Message
from builder.errors import InputError, UsageError
from builder.judges import Judge, Reading
from builder.params import Params
from builder.records import Bad, FieldError, Record, Rejected
from builder.statuses import RatingStatus, Reason, WimStatus

FIELDS = frozenset(
    {"prompt", "prompt_id", "completion", "completion_id", "feedback", "rating", "rating_min", "rating_max"}
    | {"raw", "judge", "sample", "reference", "source", "model"}
)
KEPT_ONCE = ("reference", "source", "model")
"""Held once per prompt or completion; a record that says something else keeps it in ``extra``."""

IMPORTED = "imported"
MOST = 32_768
"""Completions of one prompt: ``index`` is int16."""


@dataclass
class Accounting:
    """What became of the records: records = judgements + duplicates + rejected.

    ``prompt_conflicts`` counts prompt ids that came with more than one prompt.
    """

    records: int = 0
    judgements: int = 0
    duplicates: int = 0
    rejected: int = 0
    prompt_conflicts: int = 0
    prompts: int = 0
    completions: int = 0


class _Said(NamedTuple):
    """A judgement as its record gives it: equal ones are duplicates."""

    judge: str
    raw: str | None
    reading: Reading
    unread: str | None
    scale_min: float | None
    scale_max: float | None


@dataclass(slots=True)
class _Prompt:
    """``given``: the prompt_id of its records or, without one, ``content``, the hash of its messages."""

    given: str
    content: str | None
    messages: list[Message]
    source: str | None = None
    reference: str | None = None
    completions: "list[_Completion]" = field(default_factory=list)
    by_text: "dict[str, _Completion]" = field(default_factory=dict)


@dataclass(slots=True)
class _Completion:
    """``said``: its judgements, each with the JSON of the fields that no table has."""

    prompt: _Prompt
    text: str
    own_id: str | None
    model: str | None
    said: dict[_Said, dict[str, str]] = field(default_factory=dict)


@dataclass
class Import:
    """All that was read, by prompt_id and messages; ``owned``: the completions that brought their id."""

    prompts: dict[tuple[str, str | None], _Prompt] = field(default_factory=dict)
    owned: dict[str, _Completion] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    records: int = 0
    duplicates: int = 0


def run(
    files: Sequence[Path], folder: Path, params: Params, columns: Mapping[str, str] | None = None, strict: bool = False
) -> Accounting:
    """Write the three tables, ingest.json and, if records are bad, rejected.jsonl.

    ``columns`` (ours: theirs) renames the fields of the records. Raises InputError if a file cannot be
    read to its end, if no record is usable, or if ``strict`` and one is bad.
    """
    rejected = Rejected(strict)
    made = collect(_records(files, columns or {}), params, rejected)
    rejected.write(folder / "rejected.jsonl")
    if not made.prompts:
        names = ", ".join(map(str, files))
        first = f"; the first fault: {rejected.records[0]}" if rejected.records else ": nothing in it"
        raise InputError(f"{names}: no usable record among {made.records}{first}")
    groups, conflicts = _groups(made)
    frames = _frames(groups, made.owned)
    settings = {"judge": params.judge.name, "scale": list(params.rating.scale)}
    for stale in ("embeddings.parquet", "ratings.parquet", "pairs.parquet", "stats.json"):
        (folder / stale).unlink(missing_ok=True)  # they speak of other records
    about = tables.metadata("ingest", settings, {f"file {i}": file for i, file in enumerate(files)})
    for name, frame in frames.items():
        tables.write(tables.path(folder, name), name, frame, about)
    prompts, completions, judgements = (len(frame) for frame in frames.values())
    account = Accounting(
        made.records, judgements, made.duplicates, len(rejected.records), conflicts, prompts, completions
    )
    tables.write_json(folder / "ingest.json", vars(account))
    return account


def _records(files: Iterable[Path], columns: Mapping[str, str]) -> Iterator[Record | Bad]:
    for name in columns:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, sorted(FIELDS), n=1, cutoff=0.0)[0]
            raise UsageError(f"--map {name}=...: there is no field {name!r}; the nearest is {near!r}")
    sources = [records.read(file) for file in files]
    return (_renamed(item, columns) for source in sources for item in source)


def _renamed(item: Record | Bad, columns: Mapping[str, str]) -> Record | Bad:
    if columns and isinstance(item, Record):
        return Record(item.file, item.line, records.rename(item.fields, columns))
    return item


def collect(found: Iterable[Record | Bad], params: Params, rejected: Rejected) -> Import:
    """The usable records, by prompt and completion; the others go to ``rejected``."""
    judge = functools.cache(lambda scale: panel.single(params, "a record's raw takes", scale))
    made = Import()
    for item in found:
        made.records += 1
        if isinstance(item, Bad):
            rejected.add(item)
            continue
        try:
            fields = _completed(item)
            made.duplicates += not _add(made, fields, _said(fields, params, judge))
        except FieldError as error:
            rejected.add(records.bad(item, error))
    return made


def _completed(record: Record) -> Mapping[str, Any]:
    """In CSV an empty completion and an absent one look the same: it is an empty one."""
    fields = record.fields
    if records.kind(record.file) == ".csv" and "completion" in fields and fields["completion"] is None:
        return {**fields, "completion": ""}
    return fields


def _said(fields: Mapping[str, Any], params: Params, judge: Callable[[tuple[float, float]], Judge]) -> _Said:
    raw, feedback = records.text(fields, "raw"), records.text(fields, "feedback")
    low, high = _bound(fields, "rating_min"), _bound(fields, "rating_max")
    scale = _scale(low, high, params)
    read = judge(scale).read(raw) if raw is not None else None
    wim, status, reason = _text(feedback, read)
    rating = fields.get("rating")
    number, number_status, number_reason = _number(rating, scale, read)
    unread = records.json_text("rating", rating) if rating is not None and number is None else None
    reading = Reading(wim, status, number, number_status, reason or number_reason)
    return _Said(_judge_name(fields), raw, reading, unread, low, high)


def _bound(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        raise FieldError(name, "must be a finite number")
    return float(value)


def _scale(own_low: float | None, own_high: float | None, params: Params) -> tuple[float, float]:
    low = params.rating.scale[0] if own_low is None else own_low
    high = params.rating.scale[1] if own_high is None else own_high
    if not low < high:
        raise FieldError("rating_min", f"must be below rating_max: {low:g} and {high:g}")
    return low, high


def _judge_name(fields: Mapping[str, Any]) -> str:
    name = (records.text(fields, "judge") or "").strip() or "judge"
    sample = fields.get("sample")
    if sample is None:
        return name
    # A column of whole numbers with gaps is one of floats in CSV and Parquet.
    if isinstance(sample, bool) or not isinstance(sample, (int, float)) or sample % 1 != 0:
        raise FieldError("sample", "must be a whole number")
    return f"{name}#{int(sample)}"


def _text(feedback: str | None, read: Reading | None) -> tuple[str | None, WimStatus, Reason | None]:
    """The record's own feedback; without it what was read in ``raw``."""
    if feedback is not None:
        wim = feedback if feedback.strip() else ""
        return wim, WimStatus.MISSING if wim else WimStatus.NOTHING, None
    if read is not None:
        return read.wim, read.wim_status, read.reason if read.wim_status == WimStatus.UNREADABLE else None
    return None, WimStatus.ABSENT, None


def _number(
    rating: Any, scale: tuple[float, float], read: Reading | None
) -> tuple[float | None, RatingStatus, Reason | None]:
    """The record's own rating; without it what was read in ``raw``."""
    if rating is None:
        if read is None:
            return None, RatingStatus.ABSENT, None
        return read.rating, read.rating_status, None if read.rating_status == RatingStatus.OK else read.reason
    if isinstance(rating, bool) or not isinstance(rating, (int, float)) or rating != rating:
        return None, RatingStatus.UNREADABLE, Reason.NOT_A_NUMBER
    if not scale[0] <= rating <= scale[1]:
        return None, RatingStatus.UNREADABLE, Reason.OUT_OF_SCALE
    return float(rating), RatingStatus.OK, None


def _add(made: Import, fields: Mapping[str, Any], said: _Said) -> bool:
    """Add a judgement; False if it is an exact duplicate. Nothing is added if a field is bad."""
    messages = records.messages(fields, "prompt")
    content = ids.prompt_id(messages) if messages else None
    given = _identifier(fields, "prompt_id") or content
    if given is None:
        raise records.required(fields, "prompt", " (or prompt_id)")
    text = records.text(fields, "completion")
    if text is None:
        raise records.required(fields, "completion")
    once = {name: records.text(fields, name) for name in KEPT_ONCE}
    extra = {name: records.json_text(name, v) for name, v in fields.items() if name not in FIELDS and v is not None}
    own_id = _identifier(fields, "completion_id")
    completion = _known(made, own_id, given, content, text)
    if completion is None and made.sizes.get(given, 0) == MOST:
        raise FieldError("completion", f"is one too many: a prompt has at most {MOST:,}")
    prompt = completion.prompt if completion else None
    if prompt is None or (content and prompt.content != content):
        prompt = made.prompts.setdefault((given, content), _Prompt(given, content, messages or []))
    if completion is None:
        completion = _Completion(prompt, text, own_id, once["model"])
        _attach(made, completion)
    prompt.source, prompt.reference = prompt.source or once["source"], prompt.reference or once["reference"]
    held = {"source": prompt.source, "reference": prompt.reference, "model": completion.model}
    extra |= {name: json.dumps(value) for name, value in once.items() if value and value != held[name]}
    return completion.said.setdefault(said, extra) is extra


def _identifier(fields: Mapping[str, Any], name: str) -> str | None:
    value = records.text(fields, name)
    return value if value and value.strip() else None


def _known(made: Import, own_id: str | None, given: str, content: str | None, text: str) -> _Completion | None:
    """The completion that a record speaks of, if an earlier one brought it."""
    if own_id is None:
        prompt = made.prompts.get((given, content))
        return prompt.by_text.get(text) if prompt else None
    known = made.owned.get(own_id)
    if known:
        other_prompt = content and known.prompt.content and content != known.prompt.content
        if known.text != text or known.prompt.given != given or other_prompt:
            raise FieldError("completion_id", "is already the id of another completion")
    return known


def _attach(made: Import, completion: _Completion) -> None:
    prompt = completion.prompt
    prompt.completions.append(completion)
    prompt.by_text.setdefault(completion.text, completion)
    made.sizes[prompt.given] = made.sizes.get(prompt.given, 0) + 1
    if completion.own_id:
        made.owned[completion.own_id] = completion


def _groups(made: Import) -> tuple[dict[str, _Prompt], int]:
    """Prompts by their final id, and the number of ids that came with more than one prompt.

    Records without a prompt belong to the prompt of their id, if it is the only one.
    """
    texts: dict[str, list[_Prompt]] = {}
    for prompt in made.prompts.values():
        if prompt.content:
            texts.setdefault(prompt.given, []).append(prompt)
    groups = {prompt.given: prompt for prompt in made.prompts.values() if not _told_apart(prompt, texts)}
    for prompt in made.prompts.values():
        with_text = texts.get(prompt.given, [])
        if _told_apart(prompt, texts):
            groups[_free(prompt, groups)] = prompt
        elif prompt.content is None and len(with_text) == 1:
            _merge(made, with_text[0], prompt)
            groups[prompt.given] = with_text[0]
    # A prompt stands without completions where a completion_id led its records to another one.
    groups = {name: prompt for name, prompt in groups.items() if prompt.completions}
    return groups, sum(len(prompts) > 1 for prompts in texts.values())


def _told_apart(prompt: _Prompt, texts: Mapping[str, Sequence[_Prompt]]) -> bool:
    """Whether its id came with other prompts as well."""
    return prompt.content is not None and len(texts[prompt.given]) > 1


def _free(prompt: _Prompt, taken: Container[str]) -> str:
    """ID~HASH, numbered where a record brought that very id, or where another hash begins alike."""
    name = f"{prompt.given}~{(prompt.content or '')[:8]}"
    numbered = (f"{name}~{number}" for number in itertools.count(1))
    return next(free for free in itertools.chain([name], numbered) if free not in taken)


def _merge(made: Import, prompt: _Prompt, other: _Prompt) -> None:
    """Move the completions of ``other`` to ``prompt``."""
    prompt.source, prompt.reference = prompt.source or other.source, prompt.reference or other.reference
    for completion in other.completions:
        known = None if completion.own_id else prompt.by_text.get(completion.text)
        if known is None:
            prompt.completions.append(completion)
            continue
        for said, extra in completion.said.items():
            made.duplicates += known.said.setdefault(said, extra) is not extra


def _frames(groups: Mapping[str, _Prompt], owned: Iterable[str]) -> dict[str, pl.DataFrame]:
    """The tables prompts, completions and feedback."""
    taken = set(owned)
    prompts, completions, feedback = list[Any](), list[Any](), list[Any]()
    for group, prompt in sorted(groups.items()):
        prompts.append((group, prompt.messages, prompt.source or "", prompt.reference))
        for index, (name, completion) in enumerate(_named(group, prompt, taken)):
            judgements = _judged(completion)
            extra = _extra({judge: completion.said[said] for judge, said in judgements.items()})
            model = completion.model
            completions.append((name, group, index, completion.text, IMPORTED, None, model or IMPORTED, model, extra))
            feedback += [_feedback_row(name, judge, said) for judge, said in judgements.items()]
    more = {"model": pl.String(), "extra": pl.String()}
    return {
        "prompts": _frame("prompts", prompts),
        "completions": _frame("completions", completions, more).sort("completion_id"),
        "feedback": _frame("feedback", feedback).sort("completion_id", "judge"),
    }


def _frame(name: str, rows: list[Any], more: Mapping[str, pl.DataType] | None = None) -> pl.DataFrame:
    empty = pl.DataFrame(tables.SCHEMAS[name].empty_table())
    return pl.DataFrame(rows, schema={**empty.schema, **(more or {})}, orient="row")


def _named(group: str, prompt: _Prompt, taken: set[str]) -> Iterator[tuple[str, _Completion]]:
    """Completions with their ids: their own, else the next one that no record brought."""
    number = 0
    for completion in prompt.completions:
        name = completion.own_id
        while name is None:
            free = ids.completion_id(group, number)
            name = None if free in taken else free
            number += 1
        yield name, completion


def _judged(completion: _Completion) -> dict[str, _Said]:
    """The judgements by judge; further ones of the same judge are NAME#1, NAME#2."""
    judgements: dict[str, _Said] = {}
    counts = {said.judge: 0 for said in completion.said}
    for said in completion.said:
        name = said.judge
        while name in judgements or (name != said.judge and name in counts):
            counts[said.judge] += 1
            name = f"{said.judge}#{counts[said.judge]}"
        judgements[name] = said
    return judgements


def _feedback_row(name: str, judge: str, said: _Said) -> tuple[Any, ...]:
    reading = said.reading
    return (
        name,
        judge,
        0,
        said.raw,
        reading.rating,
        str(reading.rating_status),
        reading.wim,
        str(reading.wim_status),
        str(reading.reason) if reading.reason else None,
        said.scale_min,
        said.scale_max,
    )


def _extra(found: Mapping[str, Mapping[str, str]]) -> str | None:
    """Further fields as JSON; what differs between the judges of a completion stands under their names."""
    merged: dict[str, str] = {}
    for name in sorted({name for fields in found.values() for name in fields}):
        values = {judge: fields[name] for judge, fields in found.items() if name in fields}
        alike = len(values) == len(found) and len(set(values.values())) == 1
        by_judge = (f"{json.dumps(judge)}: {value}" for judge, value in values.items())
        merged[name] = next(iter(values.values())) if alike else "{" + ", ".join(by_judge) + "}"
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in merged.items()) + "}" if merged else None
