"""ingest: someone's completions and feedback -> prompts, completions and feedback tables.

One record is one judgement. Bad records are reported, counted and kept in rejected.jsonl; a rating
that cannot be read is no bad record, since the text still counts.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from builder import ids, plugins, records, tables
from builder.chat import Message
from builder.errors import InputError
from builder.judges import Judge, Reading
from builder.params import Params
from builder.records import Bad, FieldError, Record
from builder.statuses import RatingStatus, Reason, WimStatus

FIELDS = frozenset(
    {"prompt", "prompt_id", "completion", "completion_id", "feedback", "rating", "rating_min", "rating_max"}
    | {"raw", "judge", "sample", "reference", "source", "model"}
)
SHOWN = 10
IMPORTED = "imported"


@dataclass
class Accounting:
    """What became of the records: records = judgements + duplicates + rejected."""

    records: int = 0
    judgements: int = 0
    duplicates: int = 0
    rejected: int = 0
    prompt_conflicts: int = 0
    prompts: int = 0
    completions: int = 0


@dataclass(frozen=True)
class _Judgement:
    """A usable record, read and checked."""

    record: Record
    group: str | None
    messages: list[Message] | None
    completion: str
    completion_id: str | None
    judge: str
    reading: Reading
    raw: str | None
    scale: tuple[float | None, float | None]
    said: tuple[Any, ...]


@dataclass
class _Tables:
    """Rows in the making, by id."""

    prompts: dict[str, dict[str, Any]] = field(default_factory=dict)
    completions: dict[str, dict[str, Any]] = field(default_factory=dict)
    feedback: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    by_text: dict[tuple[str, str], str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    said: dict[tuple[str, str], set[tuple[Any, ...]]] = field(default_factory=dict)
    extra: dict[str, list[tuple[str, Mapping[str, Any]]]] = field(default_factory=dict)


def run(
    files: Sequence[Path], folder: Path, params: Params, columns: Mapping[str, str] | None = None, strict: bool = False
) -> Accounting:
    """Write the three tables and ingest.json.

    Raises InputError if no record is usable, or if ``strict`` and one is bad.
    """
    judge: Judge = plugins.load("judges", params.judge.name).Judge(params.rating.scale)
    account, rejected, usable = Accounting(), list[Bad](), list[_Judgement]()
    for item in _all(files, columns or {}):
        account.records += 1
        judgement = _judgement(item, judge, params) if isinstance(item, Record) else item
        if isinstance(judgement, Bad):
            _report(judgement, rejected, strict)
        else:
            usable.append(judgement)
    made = _collect(usable, account, rejected, strict)
    account.rejected = len(rejected)
    records.write_rejected(folder / "rejected.jsonl", rejected)
    if not made.feedback:
        names = ", ".join(map(str, files))
        first = f"; the first fault: {rejected[0]}" if rejected else ": it is empty" if len(files) == 1 else ""
        raise InputError(f"{names}: no usable record among {account.records}{first}")
    _write(folder, made, account, params)
    return account


def _all(files: Iterable[Path], columns: Mapping[str, str]) -> Iterable[Record | Bad]:
    for file in files:
        for item in records.read(file):
            if columns and isinstance(item, Record):
                item = Record(item.file, item.line, records.rename(item.fields, columns))
            yield item


def _report(bad: Bad, rejected: list[Bad], strict: bool) -> None:
    if strict:
        raise InputError(f"{bad} (--strict stops at the first)")
    rejected.append(bad)
    if len(rejected) <= SHOWN:
        print(f"rejected: {bad}", file=sys.stderr)
    elif len(rejected) == SHOWN + 1:
        print("rejected: further ones are only in rejected.jsonl", file=sys.stderr)


def _judgement(record: Record, judge: Judge, params: Params) -> _Judgement | Bad:
    try:
        return _checked(record, judge, params)
    except FieldError as error:
        return records.bad(record, error)


def _checked(record: Record, judge: Judge, params: Params) -> _Judgement:
    fields = record.fields
    messages = records.messages(fields, "prompt")
    group = records.text(fields, "prompt_id")
    if messages is None and not group:
        raise FieldError("prompt", "is required (or prompt_id)")
    completion = records.text(fields, "completion")
    if completion is None:
        raise FieldError("completion", "is required")
    raw, feedback = records.text(fields, "raw"), records.text(fields, "feedback")
    scale = (_bound(fields, "rating_min"), _bound(fields, "rating_max"))
    reading = _reading(feedback, raw, fields.get("rating"), _scale(scale, params), judge)
    for name in ("reference", "source", "model"):
        records.text(fields, name)
    return _Judgement(
        record,
        group or None,
        messages,
        completion,
        records.text(fields, "completion_id") or None,
        _judge_name(fields),
        reading,
        raw,
        scale,
        (feedback, raw, repr(fields.get("rating")), *scale),
    )


def _bound(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        raise FieldError(name, "must be a finite number")
    return float(value)


def _scale(own: tuple[float | None, float | None], params: Params) -> tuple[float, float]:
    low = params.rating.scale[0] if own[0] is None else own[0]
    high = params.rating.scale[1] if own[1] is None else own[1]
    if not low < high:
        raise FieldError("rating_min", f"must be below rating_max: {low:g} and {high:g}")
    return low, high


def _judge_name(fields: Mapping[str, Any]) -> str:
    name = records.text(fields, "judge") or "judge"
    sample = fields.get("sample")
    if sample is None:
        return name
    if isinstance(sample, bool) or not isinstance(sample, int):
        raise FieldError("sample", "must be a whole number")
    return f"{name}#{sample}"


def _reading(feedback: str | None, raw: str | None, rating: Any, scale: tuple[float, float], judge: Judge) -> Reading:
    """The record's own feedback and rating; what it does not hold is read in ``raw``."""
    read = judge.__class__(scale).read(raw) if raw is not None else None
    wim, status, reason = _text(feedback, read)
    number, number_status, number_reason = _number(rating, scale, read)
    return Reading(wim, status, number, number_status, reason or number_reason)


def _text(feedback: str | None, read: Reading | None) -> tuple[str | None, WimStatus, Reason | None]:
    if feedback is not None:
        wim = feedback if feedback.strip() else ""
        return wim, WimStatus.MISSING if wim else WimStatus.NOTHING, None
    if read is not None:
        return read.wim, read.wim_status, read.reason if read.wim_status == WimStatus.UNREADABLE else None
    return None, WimStatus.ABSENT, None


def _number(
    rating: Any, scale: tuple[float, float], read: Reading | None
) -> tuple[float | None, RatingStatus, Reason | None]:
    if rating is None:
        return (read.rating, read.rating_status, read.reason) if read else (None, RatingStatus.ABSENT, None)
    if isinstance(rating, bool) or not isinstance(rating, (int, float)) or rating != rating:
        return None, RatingStatus.UNREADABLE, Reason.NOT_A_NUMBER
    if not scale[0] <= rating <= scale[1]:
        return None, RatingStatus.UNREADABLE, Reason.OUT_OF_SCALE
    return float(rating), RatingStatus.OK, None


def _collect(usable: Sequence[_Judgement], account: Accounting, rejected: list[Bad], strict: bool) -> _Tables:
    conflicting = _conflicts(usable)
    account.prompt_conflicts = len(conflicting)
    made = _Tables()
    for judgement in usable:
        try:
            account.duplicates += not _add(made, judgement, conflicting)
        except FieldError as error:
            _report(records.bad(judgement.record, error), rejected, strict)
    account.judgements = len(made.feedback)
    account.prompts, account.completions = len(made.prompts), len(made.completions)
    return made


def _conflicts(usable: Iterable[_Judgement]) -> set[str]:
    """Prompt ids that stand for more than one prompt text."""
    texts: dict[str, set[str]] = {}
    for judgement in usable:
        if judgement.group and judgement.messages:
            texts.setdefault(judgement.group, set()).add(ids.prompt_id(judgement.messages))
    return {group for group, prompts in texts.items() if len(prompts) > 1}


def _add(made: _Tables, judgement: _Judgement, conflicting: set[str]) -> bool:
    """Add a judgement to the tables; False if it is an exact duplicate."""
    group = _group(judgement, conflicting)
    key = _completion_key(made, judgement, group)
    said = made.said.setdefault((key, judgement.judge), set())
    if judgement.said in said:
        return False
    said.add(judgement.said)
    fields = judgement.record.fields
    prompt = made.prompts.setdefault(group, {"prompt_id": group, "messages": [], "source": "", "reference": None})
    prompt["messages"] = prompt["messages"] or judgement.messages or []
    prompt["source"] = prompt["source"] or fields.get("source") or ""
    prompt["reference"] = fields.get("reference") if prompt["reference"] is None else prompt["reference"]
    if key not in made.completions:
        made.completions[key] = _completion_row(key, group, made.sizes.get(group, 0), judgement)
        made.sizes[group] = made.sizes.get(group, 0) + 1
    name = _free_name(made, key, judgement.judge)
    made.feedback[key, name] = _feedback_row(key, name, judgement)
    unknown = {field: value for field, value in fields.items() if field not in FIELDS and value is not None}
    made.extra.setdefault(key, []).append((name, unknown))
    return True


def _group(judgement: _Judgement, conflicting: set[str]) -> str:
    if judgement.group is None:
        return ids.prompt_id(judgement.messages or [])
    if judgement.group in conflicting and judgement.messages:
        return f"{judgement.group}~{ids.prompt_id(judgement.messages)[:8]}"
    return judgement.group


def _completion_key(made: _Tables, judgement: _Judgement, group: str) -> str:
    if judgement.completion_id is not None:
        other = made.completions.get(judgement.completion_id)
        if other and (other["prompt_id"], other["text"]) != (group, judgement.completion):
            raise FieldError("completion_id", "is already the id of another completion")
        return judgement.completion_id
    key = made.by_text.get((group, judgement.completion))
    if key is None:
        index = made.sizes.get(group, 0)
        key = ids.completion_id(group, index)
        while key in made.completions:  # taken by a record that brought its own id
            index += 1
            key = ids.completion_id(group, index)
        made.by_text[group, judgement.completion] = key
    return key


def _free_name(made: _Tables, key: str, judge: str) -> str:
    name, count = judge, 0
    while (key, name) in made.feedback:
        count += 1
        name = f"{judge}#{count}"
    return name


def _completion_row(key: str, group: str, index: int, judgement: _Judgement) -> dict[str, Any]:
    model = judgement.record.fields.get("model")
    return {
        "completion_id": key,
        "prompt_id": group,
        "index": index,
        "text": judgement.completion,
        "finish_reason": IMPORTED,
        "tokens": None,
        "policy": model or IMPORTED,
        "model": model,
    }


def _feedback_row(key: str, judge: str, judgement: _Judgement) -> dict[str, Any]:
    reading = judgement.reading
    return {
        "completion_id": key,
        "judge": judge,
        "attempt": 0,
        "raw": judgement.raw,
        "rating": reading.rating,
        "rating_status": str(reading.rating_status),
        "wim": reading.wim,
        "wim_status": str(reading.wim_status),
        "reason": str(reading.reason) if reading.reason else None,
        "scale_min": judgement.scale[0],
        "scale_max": judgement.scale[1],
    }


def _extra(found: Sequence[tuple[str, Mapping[str, Any]]]) -> str | None:
    """Unknown fields as JSON; what differs between the judges of a completion stands under their names."""
    merged: dict[str, Any] = {}
    for name in sorted({name for _, fields in found for name in fields}):
        values = {judge: fields[name] for judge, fields in found if name in fields}
        first = next(iter(values.values()))
        merged[name] = first if len(values) == len(found) and all(v == first for v in values.values()) else values
    return json.dumps(merged, ensure_ascii=True, sort_keys=True, default=str) if merged else None


def _write(folder: Path, made: _Tables, account: Accounting, params: Params) -> None:
    about = tables.metadata("ingest", {"judge": params.judge.name, "scale": list(params.rating.scale)}, {})
    extra = {key: _extra(found) for key, found in made.extra.items()}
    rows = [row | {"extra": extra[key]} for key, row in sorted(made.completions.items())]
    tables.write(tables.path(folder, "prompts"), "prompts", _frame(made.prompts, "prompts"), about)
    tables.write(tables.path(folder, "feedback"), "feedback", _frame(made.feedback, "feedback"), about)
    completions = _frame({row["completion_id"]: row for row in rows}, "completions").with_columns(
        pl.Series("model", [row["model"] for row in rows], pl.String),
        pl.Series("extra", [row["extra"] for row in rows], pl.String),
    )
    tables.write(tables.path(folder, "completions"), "completions", completions, about)
    tables.write_json(folder / "ingest.json", vars(account))


def _frame(rows: Mapping[Any, Mapping[str, Any]], name: str) -> pl.DataFrame:
    empty = pl.from_arrow(tables.SCHEMAS[name].empty_table())
    assert isinstance(empty, pl.DataFrame)
    ordered = [rows[key] for key in sorted(rows)]
    return pl.DataFrame({column: [row[column] for row in ordered] for column in empty.columns}, schema=empty.schema)
