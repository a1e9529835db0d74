"""Answers as files: feedback records for `wim ingest`, or preferences for `wim audit --truth`."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from analysis.annotate import store
from analysis.annotate.queue import MODES, Mode
from analysis.annotate.store import Store, Stored
from analysis.annotate.texts import SCALE, Texts
from builder import ids, tables
from builder.errors import InputError, UsageError

JUDGE = "human:"
"""Before an annotator's name, as the judge of the feedback."""


@dataclass(frozen=True)
class Kept:
    """The answers that count. Left out of ``answers`` are those that were ``skipped`` and those that are ``outdated``:
    about texts that the run does not hold any more.
    """

    answers: list[Stored]
    skipped: int
    outdated: int


def run(folder: Path, db: Path | None, file: Path, mode: Mode | None) -> dict[str, Any]:
    """Write FILE. Without a mode it is the one that there are answers in.

    Raises InputError where there is nothing to write, UsageError where there are answers in both modes, and for a
    file that `wim ingest` would not know as JSONL.
    """
    if file.suffix.lower() != ".jsonl":
        raise UsageError(f"--export {file}: the file holds JSON lines; call it {file.stem or 'answers'}.jsonl")
    texts = Texts(folder, SCALE)
    kept = {each: read(folder, db, each, texts) for each in ([mode] if mode else MODES)}
    found = [each for each, answers in kept.items() if answers.answers]
    if not found:
        raise InputError(f"{db or folder / store.NAME}: holds no answer about the texts of {folder}")
    if len(found) > 1:
        raise UsageError("there are answers of both kinds: --mode write or --mode choose says which to export")
    answers = kept[found[0]]
    records = list((feedback if found[0] == "write" else preferences)(answers.answers, texts))
    if not records:
        raise InputError("every choice was made when the judge's words had been seen: none can be a truth about them")
    write(file, records)
    told = {"file": str(file), "mode": found[0], "records": len(records), "skipped": answers.skipped}
    told |= {"outdated": answers.outdated, "annotators": dict(Counter(each.name for each in answers.answers))}
    return told | ({"informed": sum(each.informed for each in answers.answers)} if found[0] == "choose" else {})


def write(file: Path, records: Iterable[dict[str, Any]]) -> None:
    """JSON lines, all of them or none."""
    tables.write_text(file, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def read(folder: Path, db: Path | None, mode: Mode, texts: Texts) -> Kept:
    """The answers in the file that can be used."""
    opened = Store(db or folder / store.NAME, new=False)
    try:
        every = opened.current(mode)
    finally:
        opened.close()
    said = [each for each in every if each.answer.status != "skipped"]
    usable = [each for each in said if _is_current(each, texts)]
    return Kept(usable, len(every) - len(said), len(said) - len(usable))


def _is_current(stored: Stored, texts: Texts) -> bool:
    """Whether the run holds the very texts that were answered about: ids come again where a run is made again."""
    pairs = zip(stored.item.completions, stored.item.texts, strict=True)
    return all(texts.has(name) and ids.text_id(texts.completion(name)["text"]) == text for name, text in pairs)


def feedback(answers: Iterable[Stored], texts: Texts) -> Iterable[dict[str, Any]]:
    """A record for each answer, as docs/import.md has it; ``informed`` where the judge's words had been seen."""
    for stored in answers:
        completion, prompt = _texts(stored, texts)
        yield {
            "prompt": prompt["messages"] or None,
            "prompt_id": stored.item.prompt_id,
            "completion": completion["text"],
            "completion_id": completion["completion_id"],
            "feedback": stored.answer.feedback,
            "rating": stored.answer.rating,
            "rating_min": SCALE[0],
            "rating_max": SCALE[1],
            "judge": f"{JUDGE}{stored.name}",
            "reference": prompt["reference"],
            "source": prompt["source"] or None,
            "model": completion["policy"],
            **texts.origins.get(completion["completion_id"], {}),
        } | ({"informed": True} if stored.informed else {})


def _texts(stored: Stored, texts: Texts) -> tuple[dict[str, Any], dict[str, Any]]:
    return texts.completion(stored.item.completions[0]), texts.prompt(stored.item.prompt_id)


def preferences(answers: Sequence[Stored], texts: Texts) -> Iterable[dict[str, Any]]:
    """A record for each pair, as docs/audit.md has it: what most annotators say, and everybody's vote.

    Who had seen the judge's words is no witness of whether the judge is right: ``informed`` answers are left out.
    """
    blind = [each for each in answers if not each.informed]
    for item, group in groupby(blind, key=lambda each: each.item):
        votes = {stored.name: str(stored.answer.side) for stored in group}
        counts = {side: list(votes.values()).count(side) for side in ("a", "b", "tie")}
        a, b = (texts.completion(name) for name in item.completions)
        yield {
            "prompt": texts.prompt(item.prompt_id)["messages"] or None,
            "prompt_id": item.prompt_id,
            "completion_a": a["text"],
            "completion_b": b["text"],
            "completion_a_id": a["completion_id"],
            "completion_b_id": b["completion_id"],
            "preference": majority(counts),
            "votes": counts,
            "annotators": {f"{JUDGE}{name}": side for name, side in votes.items()},
        }


def majority(counts: dict[str, int]) -> str:
    """The side with more votes, a tie where neither has: as `wim audit` adds up votes that are told one by one."""
    return "tie" if counts["a"] == counts["b"] else max("ab", key=lambda side: counts[side])
