"""What the report tells of each pair that it shows: the words, every number, and where they come from."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from analysis.report.drawn import Drawn
from analysis.report.themed import Themed
from analysis.runs import Run
from analysis.themes.said import judgement as named
from builder import judgements, refined, tables
from builder.compare import DECIMALS, MEAN, MEDIAN
from builder.errors import TableError

SIDES = ("chosen", "rejected")
NUMBERS = ("rating", "R", "wim", "wim_10", "missingness", "reward")
UNKNOWN = "unknown"
"""The status of a judgement on which the run holds no row of feedback."""
PAIRS = ["pair_id", "prompt", "judge", *(f"{side}{what}" for side in SIDES for what in ("", "_feedback", "_status"))]
FEEDBACK = ["completion_id", "judge", "attempt", "wim", "wim_status", "rating_status"]
DIGITS = 6


@dataclass
class Judgement:
    """What one judge said of a completion. ``numbers``: by column of the ratings table; ``theme``: of all themes.

    ``parts``: the text in pieces, each with how near it is to the completion; none where nothing is marked.
    """

    judge: str
    status: str
    text: str | None
    theme: int | None
    reason: str | None
    numbers: dict[str, float | None]
    parts: tuple[tuple[str, float], ...] = ()


@dataclass
class Side:
    """A completion of a pair; ``text`` is None where the run does not hold it. ``length``: in characters.

    ``refined``: of one that was written again, builder.refined.COLUMNS.
    """

    id: str
    text: str | None
    length: int | None
    score: float | None
    judged: list[Judgement]
    refined: dict[str, str] | None = None


@dataclass
class Shown:
    """A pair, or a tie (``id`` is None). ``said``: what the judge's number says of its order; None without numbers."""

    run: int
    id: str | None
    why: str
    delta: float | None
    prompt_id: str
    prompt: list[dict[str, str]]
    sides: list[Side]
    said: str | None


def read(drawn: Sequence[Drawn], themed: Sequence[Themed]) -> list[Shown]:
    """The pairs that were drawn, run by run, as the runs' tables tell of them."""
    return [pair for place, each in enumerate(drawn) for pair in _of_run(place, each, themed)]


def _of_run(place: int, drawn: Drawn, themed: Sequence[Themed]) -> Iterator[Shown]:
    ids = pl.concat([drawn.pairs["chosen_id"], drawn.pairs["rejected_id"]]).unique()
    pairs = drawn.run.rows("pairs", PAIRS, "pair_id", drawn.pairs["pair_id"].drop_nulls())
    assert pairs is not None
    in_pairs = {row["pair_id"]: row for row in pairs.iter_rows(named=True)}
    texts = _texts(drawn.run, ids)
    prompts = _prompts(drawn)
    judged, judge = _judged(drawn.run, ids, themed), drawn.run.judge()
    feedback = tables.path(drawn.run.path, "feedback").is_file()
    origins = refined.origins(drawn.run.path)
    for row in drawn.pairs.iter_rows(named=True):
        pair = in_pairs.get(row["pair_id"], {})
        sides = []
        for side in SIDES:
            own = row[f"{side}_id"]
            text = texts.get(own) if own in texts else _last(pair.get(side))
            said = judged.get(own, [])
            if said and pair and not feedback:
                said = _worded(said, pair["judge"], pair[f"{side}_feedback"], pair[f"{side}_status"])
            length = None if text is None else len(text)
            sides.append(Side(own, text, length, _plain(row[f"score_{side}"]), said, origins.get(own)))
        prompt = pair["prompt"] if pair else prompts.get(row["prompt_id"], [])
        named = (place, row["pair_id"], row["why"], _plain(row["delta"]), row["prompt_id"])
        yield Shown(*named, prompt, sides, _said_of(sides, judge))


def _worded(said: Sequence[Judgement], judge: str, text: str | None, status: str) -> list[Judgement]:
    """With a pair's words as those of its judge; of several judges together they name each, and go to the first."""
    place = next((place for place, one in enumerate(said) if one.judge == judge), 0)
    return [replace(one, text=text, status=status) if own == place else one for own, one in enumerate(said)]


def _said_of(sides: Sequence[Side], judge: str) -> str | None:
    """The order of two sides by ``judge`` (a name, the mean or the median) among those who gave both a number."""
    one, other = map(_numbers, sides)
    both = [name for name in one if name in other and judge in (MEAN, MEDIAN, name)]
    if not both:
        return None
    middle = statistics.median if judge == MEDIAN else statistics.fmean
    first, second = (round(middle(numbers[name] for name in both), DECIMALS) for numbers in (one, other))
    return "agrees" if first > second else "ties" if first == second else "opposite"


def _numbers(side: Side) -> dict[str, float]:
    return {said.judge: number for said in side.judged if (number := said.numbers["rating"]) is not None}


def _last(messages: list[dict[str, str]] | None) -> str | None:
    return messages[-1]["content"] if messages else None


def _texts(run: Run, ids: pl.Series) -> dict[str, str]:
    frame = run.rows("completions", ["completion_id", "text"], "completion_id", ids)
    return {} if frame is None else dict(frame.iter_rows())


def _prompts(drawn: Drawn) -> dict[str, list[dict[str, str]]]:
    """The messages of the prompts of ties, which stand in no pair."""
    wanted = drawn.pairs.filter(pl.col("pair_id").is_null())["prompt_id"].unique()
    try:
        file = tables.find(drawn.run.path, "prompts")
    except TableError:
        return {}
    found: dict[str, list[dict[str, str]]] = {}
    for block in tables.batches(file, "prompts", ["prompt_id", "messages"], 16_384):
        found |= dict(block.filter(pl.col("prompt_id").is_in(wanted.implode())).iter_rows())
    return found


def _judged(run: Run, ids: pl.Series, themed: Sequence[Themed]) -> dict[str, list[Judgement]]:
    """By completion, a judgement for each row of the ratings table, which every run has."""
    ratings = tables.find(run.path, "ratings")
    further = _further(run)
    rated = run.rows("ratings", ["completion_id", "judge", *NUMBERS, "reason", *further], "completion_id", ids)
    assert rated is not None, ratings
    said = _said(run, ids)
    themes = next((each.of(run) for each in themed if run in each.runs), None)
    if themes is None:
        themes = pl.DataFrame(schema={"judgement": pl.UInt64, "theme": pl.Int16})
    key = ["completion_id", "judge"]
    rows = rated.filter(pl.col("judge") != "").join(said, on=key, how="left")
    rows = rows.with_columns(judgement=named()).join(themes, on="judgement", how="left").sort(key)
    found: dict[str, list[Judgement]] = {}
    for row in rows.iter_rows(named=True):
        numbers = {name: _plain(row[name]) for name in (*NUMBERS, *further)}
        status = row["wim_status"] or UNKNOWN
        judgement = Judgement(row["judge"], status, row["text"] or None, row["theme"], row["reason"], numbers)
        found.setdefault(row["completion_id"], []).append(judgement)
    return found


def _further(run: Run) -> list[str]:
    """Columns of further ratings: what is a number and no part of the schema."""
    with tables.open_parquet(tables.find(run.path, "ratings")) as parquet:
        schema = pl.Schema(parquet.schema_arrow)
    return [name for name, kind in schema.items() if name not in tables.SCHEMAS["ratings"].names and kind.is_float()]


def _said(run: Run, ids: pl.Series) -> pl.DataFrame:
    """completion_id, judge, text and wim_status of the attempts that count."""
    frame = run.rows("feedback", FEEDBACK, "completion_id", ids)
    if frame is None:
        return pl.DataFrame(schema=dict.fromkeys(["completion_id", "judge", "text", "wim_status"], pl.String))
    return judgements.used(frame).select("completion_id", "judge", "wim_status", text="wim")


def _plain(value: Any) -> float | None:
    """A number as JSON takes it."""
    return round(float(value), DIGITS) if value is not None and abs(value) < float("inf") else None
