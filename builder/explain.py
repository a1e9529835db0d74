"""explain: one pair in full, from its numbers back to the words that caused them."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from builder import refined, screen, tables
from builder.errors import TableError
from builder.statuses import WimStatus

WIDTH = 100


def run(folder: Path, pair_id: str | None = None) -> dict[str, Any]:
    """The pair of that id (or any unambiguous beginning), by default the one with the largest delta."""
    pairs = tables.read(tables.find(folder, "pairs"), "pairs")
    if pairs.is_empty():
        raise TableError(f"{folder}: there is no pair; `wim stats {folder}` tells what became of the prompts")
    found = pairs.sort("delta", "pair_id", descending=[True, False]).head(1)
    if pair_id is not None:
        found = pairs.filter(pl.col("pair_id").str.starts_with(pair_id))
        if len(found) != 1:
            raise TableError(f"{folder}: {len(found)} pairs have an id that begins with {pair_id!r}")
    pair = found.row(0, named=True)
    names = {side: pair[f"{side}_id"] for side in ("chosen", "rejected")}
    origins = refined.origins(folder)
    return pair | {
        "judgements": {side: _judgements(folder, name) for side, name in names.items()},
        "refined": {side: origins[name] for side, name in names.items() if name in origins},
    }


def _judgements(folder: Path, completion_id: str) -> list[dict[str, Any]]:
    ratings = tables.read(tables.find(folder, "ratings"), "ratings")
    columns = ["judge", "rating", "R", "wim", "wim_10", "missingness", "reward", "ratable", "reason", "length"]
    return ratings.filter(pl.col("completion_id") == completion_id).select(columns).to_dicts()


def text(pair: dict[str, Any]) -> str:
    """The pair as a page to read."""
    prompt = "\n\n".join(f"{m['role']}: {m['content']}" for m in pair["prompt"])
    lines = [
        f"pair {pair['pair_id']}   arm {pair['arm'] or '-'}   round {pair['round']}   method {pair['method']}",
        "",
        _section("PROMPT", prompt or f"(its text is not known; id {pair['prompt_id']})"),
    ]
    for side in ("chosen", "rejected"):
        lines += [
            _section(f"{side.upper()}   {pair[f'{side}_id']}", pair[side][-1]["content"]),
            *_origin(pair.get("refined", {}).get(side)),
            _section("what is missing", _feedback(pair, side)),
            *map(_numbers, pair["judgements"][side]),
            "",
        ]
    lines += [f"why: {_why(pair)}"]
    return screen.printable("\n".join(lines))


def _origin(refined: Mapping[str, Any] | None) -> list[str]:
    """Of a completion that was written again: from which, and what was missing in that."""
    if refined is None:
        return []
    title = f"refined from {refined['refined_from']}, where {refined['refined_judge']} said was missing"
    return [_section(title, refined["refined_feedback"])]


def _feedback(pair: Mapping[str, Any], side: str) -> str:
    """The texts; of several judges that all miss nothing there are only their names."""
    status = pair[f"{side}_status"]
    return (status != WimStatus.NOTHING and pair[f"{side}_feedback"]) or _status(status)


def _section(title: str, body: str) -> str:
    body = screen.printable(body)
    wrapped = [textwrap.fill(line, WIDTH - 4, replace_whitespace=False) if line else "" for line in body.splitlines()]
    return f"{title}\n" + textwrap.indent("\n".join(wrapped), "    ") + "\n"


def _status(status: str) -> str:
    return {"nothing": "(nothing)", "absent": "(not judged)", "unreadable": "(unreadable)"}.get(status, "")


def _numbers(judgement: dict[str, Any]) -> str:
    number, cosine = judgement["rating"], judgement["wim"]
    said = f"number {number:.3g} (R {judgement['R']:+.3f})" if number is not None else "number -"
    measured = (
        f"wim {cosine:+.4f} ({judgement['wim_10']:.2f} of 10), missingness {judgement['missingness']:.4f}"
        if cosine is not None
        else "wim -"
    )
    return f"    {judgement['judge']}: {said}, {measured}, {judgement['length']:,} characters"


def _why(pair: dict[str, Any]) -> str:
    words = f"{pair['method']} gives {pair['score_chosen']:+.4f} against {pair['score_rejected']:+.4f}"
    numbers = pair["chosen_rating"], pair["rejected_rating"]
    if pair["delta"] == 0:
        return f"{words}: a tie, kept on demand"
    if None in numbers or pair["method"] == "numerical":
        return f"{words}: a delta of {pair['delta']:.4f}"
    order = "ties them" if numbers[0] == numbers[1] else "agrees" if numbers[0] > numbers[1] else "says the opposite"
    return f"{words}: a delta of {pair['delta']:.4f}; the judge's number ({numbers[0]:.3g}, {numbers[1]:.3g}) {order}"
