"""ingest: someone's completions and feedback -> prompts, completions and feedback tables.

One record is one judgement. Bad records are reported, counted and kept in rejected.jsonl; a rating
that cannot be read is no bad record, since the text still counts.
"""

import contextlib
import difflib
import functools
import gc
import itertools
import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa

from builder import ids, records, tables
from builder.errors import InputError, UsageError
from builder.judges import Judge, Reading
from builder.judging import panel
from builder.language.chat import Message
from builder.params import Params
from builder.records import Bad, FieldError, Record, Rejected
from builder.statuses import RatingStatus, Reason, WimStatus

FIELDS = frozenset(
    {"prompt", "prompt_id", "completion", "completion_id", "feedback", "rating", "rating_min", "rating_max"}
    | {"raw", "judge", "sample", "reference", "source", "model"}
)
_NOTHING: Mapping[str, str] = {}
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
    """A judgement as its record gives it: equal ones are duplicates.

    Its parts are columns of the feedback table, but for ``unread``, the JSON of a rating that cannot be read.
    """

    judge: str
    raw: str | None
    rating: float | None
    rating_status: RatingStatus
    wim: str | None
    wim_status: WimStatus
    reason: Reason | None
    scale_min: float | None
    scale_max: float | None
    unread: str | None

    def columns(self) -> tuple[Any, ...]:
        """As they stand in the feedback table, from ``raw`` on."""
        return self[1:-1]


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

    text: str
    own_id: str | None
    model: str | None
    said: dict[_Said, Mapping[str, str]] = field(default_factory=dict)


@dataclass
class Import:
    """All that was read, by prompt_id and messages; ``owned``: the completions that brought their id.

    ``asked``: the messages of a prompt that is a text, and their hash, since most prompts come more than once.
    """

    prompts: dict[tuple[str, str | None], _Prompt] = field(default_factory=dict)
    asked: dict[str, tuple[list[Message], str]] = field(default_factory=dict)
    owned: dict[str, tuple[_Prompt, _Completion]] = field(default_factory=dict)
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
    with _nothing_collected():
        made = collect(_records(files, columns or {}), params, rejected)
        rejected.write(folder / "rejected.jsonl")
        if not made.prompts:
            names = ", ".join(map(str, files))
            first = f"; the first fault: {rejected.records[0]}" if rejected.records else ": nothing in it"
            raise InputError(f"{names}: no usable record among {made.records}{first}")
        frames, account = _accounted(made, len(rejected.records))
        del made  # its texts are in the frames
    settings = {"judge": params.judge.name, "scale": list(params.rating.scale)}
    for stale in ("embeddings.parquet", "ratings.parquet", "pairs.parquet", "stats.json"):
        (folder / stale).unlink(missing_ok=True)  # they speak of other records
    about = tables.metadata("ingest", settings, {f"file {i}": file for i, file in enumerate(files)})
    for name, frame in frames.items():
        tables.write(tables.path(folder, name), name, frame, about)
    tables.write_json(folder / "ingest.json", vars(account))
    return account


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """Without Python's search for cycles: of millions of objects here, all stay and none is in a cycle."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _records(files: Iterable[Path], columns: Mapping[str, str]) -> Iterator[Record | Bad]:
    for name in columns:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, sorted(FIELDS), n=1, cutoff=0.0)[0]
            raise UsageError(f"--map {name}=...: there is no field {name!r}; the nearest is {near!r}")
    found = itertools.chain.from_iterable([records.read(file) for file in files])
    return (_renamed(item, columns) for item in found) if columns else found


def _renamed(item: Record | Bad, columns: Mapping[str, str]) -> Record | Bad:
    return item._replace(fields=records.rename(item.fields, columns)) if isinstance(item, Record) else item


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
    if fields.get("completion", "") is None and records.kind(record.file) == ".csv":
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
    name = _judge_name(fields)
    return _Said(name, raw, number, number_status, wim, status, reason or number_reason, low, high, unread)


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
    messages, content = _asked(made, fields)
    given = _identifier(fields, "prompt_id") or content
    if given is None:
        raise records.required(fields, "prompt", " (or prompt_id)")
    text = records.text(fields, "completion")
    if text is None:
        raise records.required(fields, "completion")
    once = {name: records.text(fields, name) for name in KEPT_ONCE if name in fields}
    extra = _NOTHING if fields.keys() <= FIELDS else _further(fields)
    own_id = _identifier(fields, "completion_id")
    prompt, completion = _known(made, own_id, given, content, text)
    if completion is None and made.sizes.get(given, 0) == MOST:
        raise FieldError("completion", f"is one too many: a prompt has at most {MOST:,}")
    if prompt is None:
        prompt = made.prompts[given, content] = _Prompt(given, content, messages)
        if content and isinstance(fields["prompt"], str):
            made.asked[fields["prompt"]] = messages, content
    if completion is None:
        completion = _Completion(text, own_id, once.get("model"))
        _attach(made, prompt, completion)
    prompt.source, prompt.reference = prompt.source or once.get("source"), prompt.reference or once.get("reference")
    differing = _differing(once, prompt, completion) if once else None
    return _is_new(completion, said, {**extra, **differing} if differing else extra)


def _asked(made: Import, fields: Mapping[str, Any]) -> tuple[list[Message], str | None]:
    """The messages of the prompt, and the hash of them; none and None if it is absent."""
    prompt = fields.get("prompt")
    known = made.asked.get(prompt) if isinstance(prompt, str) else None
    if known:
        return known
    messages = records.messages(fields, "prompt")
    if messages is None:
        return [], None
    return messages, ids.prompt_id(messages)


def _further(fields: Mapping[str, Any]) -> dict[str, str]:
    """The fields that no table has, as JSON."""
    return {name: records.json_text(name, v) for name, v in fields.items() if name not in FIELDS and v is not None}


def _differing(once: Mapping[str, str | None], prompt: _Prompt, completion: _Completion) -> dict[str, str]:
    """What a record says otherwise than an earlier one, as JSON."""
    held = {"source": prompt.source, "reference": prompt.reference, "model": completion.model}
    return {name: json.dumps(value) for name, value in once.items() if value and value != held[name]}


def _is_new(completion: _Completion, said: _Said, extra: Mapping[str, str]) -> bool:
    """Add a judgement, unless the completion has it."""
    if said in completion.said:
        return False
    completion.said[said] = extra
    return True


def _identifier(fields: Mapping[str, Any], name: str) -> str | None:
    value = records.text(fields, name)
    return value if value and value.strip() else None


def _known(
    made: Import, own_id: str | None, given: str, content: str | None, text: str
) -> tuple[_Prompt | None, _Completion | None]:
    """The prompt and the completion that a record speaks of, as far as earlier ones brought them."""
    prompt, completion = made.prompts.get((given, content)), None
    if own_id is None:
        return prompt, prompt.by_text.get(text) if prompt else None
    if own_id in made.owned:
        owner, completion = made.owned[own_id]
        other_prompt = content and owner.content and content != owner.content
        if completion.text != text or owner.given != given or other_prompt:
            raise FieldError("completion_id", "is already the id of another completion")
        if not content:
            prompt = owner
    return prompt, completion


def _attach(made: Import, prompt: _Prompt, completion: _Completion) -> None:
    prompt.completions.append(completion)
    prompt.by_text.setdefault(completion.text, completion)
    made.sizes[prompt.given] = made.sizes.get(prompt.given, 0) + 1
    if completion.own_id:
        made.owned[completion.own_id] = prompt, completion


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
            made.duplicates += not _is_new(known, said, extra)


def _accounted(made: Import, rejected: int) -> tuple[dict[str, pl.DataFrame], Accounting]:
    groups, conflicts = _groups(made)
    frames = _frames(groups, made.owned)
    prompts, completions, judgements = (len(frame) for frame in frames.values())
    return frames, Accounting(made.records, judgements, made.duplicates, rejected, conflicts, prompts, completions)


def _frames(groups: Mapping[str, _Prompt], owned: Iterable[str]) -> dict[str, pl.DataFrame]:
    """The tables prompts, completions and feedback."""
    taken = set(owned)
    prompts, completions, feedback = list[Any](), list[Any](), list[Any]()
    for group, prompt in sorted(groups.items()):
        prompts.append((group, prompt.messages, prompt.source or "", prompt.reference))
        for index, (name, completion) in enumerate(_named(group, prompt, taken)):
            judged, model = _judged(completion), completion.model
            extra = _extra(judged)
            completions.append((name, group, index, completion.text, IMPORTED, None, model or IMPORTED, model, extra))
            feedback += [(name, judge, 0, *said.columns()) for judge, said, _ in judged]
    more = {"model": pl.String(), "extra": pl.String()}
    return {
        "prompts": _frame("prompts", prompts),
        "completions": _frame("completions", completions, more).sort("completion_id"),
        "feedback": _frame("feedback", feedback).sort("completion_id", "judge"),
    }


def _frame(name: str, rows: list[Any], more: Mapping[str, pl.DataType] | None = None) -> pl.DataFrame:
    """Rows as a frame, handed over column by column: polars takes them many times faster so."""
    kinds = {**pl.Schema(tables.SCHEMAS[name]), **(more or {})}
    columns: dict[str, Any] = dict(zip(kinds, zip(*rows, strict=True), strict=True))
    if "messages" in columns:
        columns["messages"] = _messages(columns["messages"])
    return pl.DataFrame(columns, schema=kinds)


def _messages(conversations: Sequence[Sequence[Message]]) -> pl.Series:
    """A column of lists, put together from its parts: from lists of dicts polars makes it 30 times as slowly."""
    starts = pl.Series(itertools.accumulate(map(len, conversations), initial=0), dtype=pl.Int32)
    turns = [turn for conversation in conversations for turn in conversation]
    parts = [pl.Series([turn[part] for turn in turns], dtype=pl.String).to_arrow() for part in ("role", "content")]
    nested = pa.ListArray.from_arrays(starts.to_arrow(), pa.StructArray.from_arrays(parts, ["role", "content"]))
    return pl.Series(nested)


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


def _judged(completion: _Completion) -> list[tuple[str, _Said, Mapping[str, str]]]:
    """The judgements, each under its judge; further ones of the same judge are NAME#1, NAME#2."""
    counts = {said.judge: 0 for said in completion.said}
    if len(counts) == len(completion.said):
        return [(said.judge, said, extra) for said, extra in completion.said.items()]
    judgements: dict[str, tuple[str, _Said, Mapping[str, str]]] = {}
    for said, extra in completion.said.items():
        name = said.judge
        while name in judgements or (name != said.judge and name in counts):
            counts[said.judge] += 1
            name = f"{said.judge}#{counts[said.judge]}"
        judgements[name] = name, said, extra
    return list(judgements.values())


def _extra(judged: Iterable[tuple[str, _Said, Mapping[str, str]]]) -> str | None:
    """Further fields as JSON; what differs between the judges of a completion stands under their names."""
    found = {judge: extra for judge, _, extra in judged}
    if not any(found.values()):
        return None
    merged: dict[str, str] = {}
    for name in sorted({name for fields in found.values() for name in fields}):
        values = {judge: fields[name] for judge, fields in found.items() if name in fields}
        alike = len(values) == len(found) and len(set(values.values())) == 1
        by_judge = (f"{json.dumps(judge)}: {value}" for judge, value in values.items())
        merged[name] = next(iter(values.values())) if alike else "{" + ", ".join(by_judge) + "}"
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in merged.items()) + "}"
