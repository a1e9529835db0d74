"""Which pairs the report shows: the extremes, ties, pairs of each theme, others at random."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.report.level import level
from analysis.report.themed import Themed
from analysis.runs import Run
from builder import tables
from builder.compare import MEAN, JudgedPairs, comparable, judged_pairs

LARGEST, SMALLEST, TIE, THEME, RANDOM, REST = "largest", "smallest", "tie", "theme", "random", "rest"
WHY = {
    LARGEST: "one of the largest deltas",
    SMALLEST: "one of the smallest deltas",
    TIE: "a tie, of which no pair was made",
    THEME: "drawn for its theme",
    RANDOM: "drawn at random",
    REST: "one of the others",
}
FIFTH, TENTH = 5, 10
IDS = ["prompt_id", "chosen_id", "rejected_id"]
READ = ["pair_id", *IDS, "score_chosen", "score_rejected", "delta"]
_SCHEMA = dict.fromkeys(READ[:4], pl.String) | dict.fromkeys(READ[4:], pl.Float64)

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Drawn:
    """``pairs``: pair_id (null for a tie), ids, scores, delta, ``why``; of ``total`` pairs and ``ties`` ties."""

    run: Run
    pairs: pl.DataFrame
    total: int
    ties: int


def draw(themed: list[Themed], runs: tuple[Run, ...], most: int, seed: int) -> list[Drawn]:
    """At most ``most`` pairs of all runs, shared out evenly. The same tables and seed draw the same ones.

    Of each pair that is not drawn some numbers are held, and no text.
    """
    found = [_look(run) for run in runs if tables.path(run.path, "pairs").is_file()]
    share = level([len(each.deltas) + each.ties for each in found], most)
    drawn = [
        Drawn(each.run, _of_run(each, _themes(themed, each), share, seed), len(each.deltas), each.ties)
        for each in found
    ]
    return [each for each in drawn if len(each.pairs)]


@dataclass(frozen=True)
class _Looked:
    """Of each pair, as they lie in the table, the delta, and 64 bits that stand for its ids and for its rejected one.

    ``ties``: how many there are.
    """

    run: Run
    deltas: NDArray[np.float64]
    pairs: pl.Series
    rejected: pl.Series
    ties: int


def _look(run: Run) -> _Looked:
    blocks = tables.batches(tables.path(run.path, "pairs"), "pairs", [*IDS, "delta"])
    found = [pl.DataFrame(schema={"delta": pl.Float64, "pair": pl.UInt64, "rejected": pl.UInt64})]
    for block in blocks:
        found.append(block.select("delta", pair=_ids(), rejected=pl.col("rejected_id").hash()))
    pairs = pl.concat(found, rechunk=True)
    ties = sum(map(len, _ties(run, pairs["pair"])))
    return _Looked(run, pairs["delta"].to_numpy(), pairs["pair"], pairs["rejected"], ties)


def _ids() -> pl.Expr:
    return pl.struct(IDS).hash()


def _ties(run: Run, pairs: pl.Series) -> Iterator[pl.DataFrame]:
    """Judged pairs that the run's reward ties and that are not among ``pairs``; none where a run has no completions."""
    settings, several = run.settings("pairs").get("pair", {}), run.several("reward")
    for ratings, texts in run.prompts(["completion_id", "prompt_id", "judge", "reward"]):
        if texts is None:
            return
        values = comparable(ratings, texts, "reward", str(settings.get("judge", MEAN)), several)
        ties = _tied(judged_pairs(values), float(settings.get("min_gap", 0.0)))
        yield ties.filter(~_ids().is_in(pairs.implode()))


def _tied(judged: JudgedPairs, gap: float) -> pl.DataFrame:
    """Those of a delta of at most ``gap``, as pairs without an id."""
    tied = np.flatnonzero(judged.tied(gap))
    better, worse = judged.values[judged.better[tied]], judged.values[judged.worse[tied]]
    return pl.DataFrame(
        {
            "pair_id": pl.Series([None] * len(tied), dtype=pl.String),
            "prompt_id": better["prompt_id"],
            "chosen_id": better["completion_id"],
            "rejected_id": worse["completion_id"],
            "score_chosen": better["value"],
            "score_rejected": worse["value"],
            "delta": judged.delta[tied],
        },
        schema=_SCHEMA,
    )


def _themes(themed: list[Themed], looked: _Looked) -> Rows:
    """The theme of each pair's rejected side, -1 for none."""
    judged = next((each.of(looked.run) for each in themed if looked.run in each.runs), None)
    if judged is None:
        return np.full(len(looked.deltas), -1)
    pairs = looked.rejected.alias("completion").to_frame()
    own = pl.col("theme").is_not_null() & pl.col("completion").is_in(looked.rejected.implode())
    first = judged.filter(own).unique("completion", keep="first", maintain_order=True)
    joined = pairs.join(first, on="completion", how="left", maintain_order="left")
    return joined["theme"].fill_null(-1).to_numpy().astype(np.int64)


def _of_run(looked: _Looked, themes: Rows, most: int, seed: int) -> pl.DataFrame:
    """The rows that are drawn."""
    why, some = choose(looked.deltas, looked.ties, themes, most, seed)
    blocks = tables.batches(tables.path(looked.run.path, "pairs"), "pairs", READ)
    pairs = _gathered(blocks, np.array(list(why), np.int64))
    ties = _gathered(_ties(looked.run, looked.pairs) if len(some) else iter(()), some)
    named = pl.Series("why", list(why.values()), pl.String)
    return pl.concat([pairs.with_columns(named), ties.with_columns(why=pl.lit(TIE))])


def choose(deltas: NDArray[np.float64], ties: int, themes: Rows, most: int, seed: int) -> tuple[dict[int, str], Rows]:
    """``most`` of the pairs, whose ``deltas`` are given, and of the ties; a tenth are ties, as far as there are any.

    The places of the pairs, largest delta first, each with its ``why``; and the places of the ties.
    """
    whole = len(deltas) + ties <= most
    generator = np.random.default_rng(seed)
    shown = ties if whole else min(ties, max(most // TENTH, most - len(deltas)))
    some = np.sort(generator.permutation(ties)[:shown])
    room = most - shown
    by_delta, at_random = np.argsort(-deltas, kind="stable"), generator.permutation(len(deltas))
    why: dict[int, str] = {}
    for name, rows, part in (
        (LARGEST, by_delta, room // FIFTH),
        (SMALLEST, by_delta[::-1], room // FIFTH),
        (THEME, _in_turn(themes, at_random), room // FIFTH),
        (REST if whole else RANDOM, at_random, room),
    ):
        free = (int(row) for row in rows if int(row) not in why)
        why |= dict.fromkeys(list(islice(free, min(part, room - len(why)))), name)
    return {place: why[place] for place in sorted(why, key=lambda place: (-deltas[place], place))}, some


def _gathered(blocks: Iterator[pl.DataFrame], places: Rows) -> pl.DataFrame:
    """The rows at ``places`` of what comes in blocks, in their order."""
    order, start, found = np.argsort(places), 0, [pl.DataFrame(schema=_SCHEMA)]
    ascending = places[order]
    for block in blocks:
        first, end = np.searchsorted(ascending, [start, start + len(block)])
        if first < end:
            found.append(tables.detached(block[ascending[first:end] - start].select(READ)))
        start += len(block)
    return pl.concat(found)[np.argsort(order)]


def _in_turn(themes: Rows, order: Rows) -> Iterator[int]:
    """Rows in ``order``, one of each theme in turn."""
    groups = [order[themes[order] == theme] for theme in range(themes.max(initial=-1) + 1)]
    for place in range(max(map(len, groups), default=0)):
        yield from (int(group[place]) for group in groups if place < len(group))
