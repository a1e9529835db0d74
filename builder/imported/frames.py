"""Prompts, completions and judgements as tables."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from builder import ids, tables
from builder.imported.collected import Completion, Prompt
from builder.imported.judgement import Said
from builder.language.chat import Message

IMPORTED = "imported"


def frames(groups: Mapping[str, Prompt], owned: Iterable[str]) -> dict[str, pl.DataFrame]:
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


def _named(group: str, prompt: Prompt, taken: set[str]) -> Iterator[tuple[str, Completion]]:
    """Completions with their ids: their own, else the next one that no record brought."""
    number = 0
    for completion in prompt.completions:
        name = completion.own_id
        while name is None:
            free = ids.completion_id(group, number)
            name = None if free in taken else free
            number += 1
        yield name, completion


def _judged(completion: Completion) -> list[tuple[str, Said, Mapping[str, str]]]:
    """The judgements, each under its judge; further ones of the same judge are NAME#1, NAME#2."""
    counts = {said.judge: 0 for said in completion.said}
    if len(counts) == len(completion.said):
        return [(said.judge, said, extra) for said, extra in completion.said.items()]
    judgements: dict[str, tuple[str, Said, Mapping[str, str]]] = {}
    for said, extra in completion.said.items():
        name = said.judge
        while name in judgements or (name != said.judge and name in counts):
            counts[said.judge] += 1
            name = f"{said.judge}#{counts[said.judge]}"
        judgements[name] = name, said, extra
    return list(judgements.values())


def _extra(judged: Iterable[tuple[str, Said, Mapping[str, str]]]) -> str | None:
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
