"""Completions compared in pairs, both orders: comparisons.parquet, and a number for each completion.

A completion's rating is the share of its comparisons that it won, in [0, 1]: a verdict counts by its grade (a tie
half), the two orders of a pair are averaged, then the pairs. Against one completion for all, that one has 0.5.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder import generate, ids, rows, tables
from builder.engines import Request
from builder.judges import PairJudge
from builder.judging import asking, judged
from builder.judging.asking import Attempt
from builder.language.policy import Policy
from builder.params import Compare, Params
from builder.statuses import RatingStatus, Reason, WimStatus


@dataclass(frozen=True)
class Compared:
    """``pairs``: columns prompt_id, a, b (completion ids); each is asked with a first (order 0), then with b first.

    ``completions``: completion_id, prompt_id, text, sorted by the first; ``against``: whether all were compared
    with one, ``b``.
    """

    prompts: pl.DataFrame
    completions: pl.DataFrame
    pairs: pl.DataFrame
    judge: PairJudge
    against: bool

    def wanted(self) -> NDArray[np.bool_]:
        """All pairs in both orders: question 2i and 2i + 1 are of pair i."""
        return np.ones(2 * len(self.pairs), np.bool_)

    def requests(self, wanted: NDArray[np.bool_], attempt: int, by: Policy, params: Params) -> Iterator[Request]:
        """As ``asking.Questions``."""
        sampling, asked = asking.sampling(self.judge, params, attempt), iter(wanted)
        for block in self._texts():
            for a, b, text_a, text_b, messages in block.iter_rows():
                for first, second, names in ((text_a, text_b, (a, b)), (text_b, text_a, (b, a))):
                    if next(asked):
                        seed = ids.seed_of(params.seed, "\n".join(names), attempt)
                        yield Request(tuple(self.judge.messages(messages, first, second)), by, seed, sampling)

    def _texts(self) -> Iterator[pl.DataFrame]:
        """Columns a, b, text_a, text_b, messages of the pairs, block by block."""
        for block in self.pairs.iter_slices(rows.BLOCK):
            for side in ("a", "b"):
                texts = self.completions.select(
                    pl.col("completion_id").alias(side), pl.col("text").alias(f"text_{side}")
                )
                block = block.join(texts, on=side, how="left", maintain_order="left")
            block = block.join(self.prompts, on="prompt_id", how="left", maintain_order="left")
            yield block.select("a", "b", "text_a", "text_b", "messages")

    def again(self, answers: generate.Answers) -> list[bool]:
        """As ``asking.Questions``: what is beyond the context is not mended by asking again."""
        return [bool(said and said[1] is None and said[2] != Reason.TOO_LONG) for said in self.read(answers)]

    def read(self, answers: generate.Answers) -> Iterator[tuple[str, int | None, Reason | None] | None]:
        """Answer by answer the words, the grade in favour of the first, or why there is none."""
        for answer in asking.answered(answers):
            if answer is None:
                yield None
            else:
                text, finish_reason, reason = answer
                yield text, *((None, reason) if reason else self.judge.read(text, finish_reason))


def compared(prompts: pl.DataFrame, completions: pl.DataFrame, judge: PairJudge, params: Params) -> Compared:
    """``completions``: completion_id, prompt_id, text, index, sorted by completion_id. All are held in memory."""
    settings = params.judge.compare or Compare()
    pairs = list[tuple[str, str, str]]()
    distinct = completions.filter(~judged.empty(completions))
    distinct = distinct.unique(["prompt_id", "text"], keep="first", maintain_order=True)
    for (prompt,), group in distinct.group_by("prompt_id", maintain_order=True):
        names, index = group["completion_id"].to_list(), group["index"].to_list()
        pairs += [(str(prompt), a, b) for a, b in _pairs(names, index, settings, params.seed)]
    schema = {"prompt_id": pl.String, "a": pl.String, "b": pl.String}
    frame = pl.DataFrame(pairs, schema=schema, orient="row").sort("prompt_id", "a", "b")
    return Compared(prompts, completions.drop("index"), frame, judge, settings.against is not None)


def _pairs(names: Sequence[str], index: Sequence[int], settings: Compare, seed: int) -> Iterator[tuple[str, str]]:
    """Whom to compare of a prompt's completions.

    Where all pairs are too many: neighbours in a ring in random order, then next but one, and so on, so that nobody
    is compared much oftener than others.
    """
    if settings.against is not None:
        base = [name for name, place in zip(names, index, strict=True) if place == settings.against]
        return ((name, base[0]) for name in names if base and name != base[0])
    every = len(names) * (len(names) - 1) // 2
    if every <= settings.limit:
        return itertools.combinations(names, 2)
    ring = sorted(names, key=lambda name: ids.uniform_of(seed, name))
    steps = ((i, (i + step) % len(ring)) for step in range(1, len(ring) // 2 + 1) for i in range(len(ring)))
    chosen = dict.fromkeys((min(ring[i], ring[j]), max(ring[i], ring[j])) for i, j in steps)
    return itertools.islice(chosen, settings.limit)


def verdicts(asked: Compared, attempts: Sequence[Attempt[generate.Answers]], name: str) -> pl.DataFrame:
    """The comparisons table of one judge: every attempt, its grade in favour of ``a``, whoever stood first."""
    found = list[tuple[object, ...]]()
    for number, attempt in enumerate(attempts):
        read = asked.read(attempt.answers)
        for question in np.flatnonzero(attempt.asked).tolist():
            said = next(read)
            if said is None:
                continue
            raw, grade, reason = said
            pair, order = divmod(question, 2)
            own = grade if grade is None or not order else -grade
            verdict = None if own is None else "a" if own > 0 else "b" if own < 0 else "tie"
            found.append((*asked.pairs.row(pair), name, order, number, raw, verdict, own, asked.judge.most, reason))
    return pl.DataFrame(found, schema=pl.Schema(tables.SCHEMAS["comparisons"]), orient="row")


def counting(table: pl.DataFrame) -> pl.DataFrame:
    """The attempt that counts of each pair, judge and order: the first with a verdict, else the first."""
    key = ["prompt_id", "a", "b", "judge", "order"]
    ordered = table.sort(*key, pl.col("verdict").is_null(), "attempt")
    return ordered.unique(key, keep="first", maintain_order=True)


def frames(asked: Compared, attempts: Sequence[Attempt[generate.Answers]], name: str) -> Iterator[pl.DataFrame]:
    """The feedback table in blocks of as many completions as ``judged.frames`` has: one row for each of them."""
    feedback = rated(asked, counting(verdicts(asked, attempts, name)), name)
    for block in asked.completions.iter_slices(rows.BLOCK):
        yield feedback.join(block, on="completion_id", how="semi", maintain_order="left")


def rated(asked: Compared, verdicts: pl.DataFrame, name: str) -> pl.DataFrame:
    """Every completion's share; none where nothing was compared, or no verdict can be read, or none is there yet.

    Completions of the same text have the share of the first of them, which was compared for all.
    """
    won = 0.5 + pl.col("grade") / (2 * pl.col("most"))
    pairs = verdicts.group_by("a", "b", maintain_order=True).agg(won.mean().alias("won"), _first("reason"))
    other = pl.when(pl.col("won").is_not_null()).then(pl.lit(0.5) if asked.against else 1 - pl.col("won"))
    sides = pl.concat(
        [pairs.select("a", "won", "reason"), pairs.select(pl.col("b").alias("a"), other.alias("won"), "reason")]
    )
    shares = sides.group_by("a").agg(pl.col("won").mean(), _first("reason"))
    told = asked.completions.select(
        "completion_id",
        judged.empty(asked.completions).alias("nothing"),
        pl.col("completion_id").first().over("prompt_id", "text").alias("a"),
    )
    due = pl.col("a").is_in(pl.concat([asked.pairs["a"], asked.pairs["b"]]).implode())
    told = told.with_columns(due=due, answered=pl.col("a").is_in(shares["a"].implode()))
    told = told.join(shares, on="a", how="left", maintain_order="left")
    return _frame(told.filter(pl.col("answered") | ~pl.col("due")), name)


def _first(column: str) -> pl.Expr:
    return pl.col(column).drop_nulls().first()


def _frame(shares: pl.DataFrame, name: str) -> pl.DataFrame:
    """Rows of feedback from completion_id, nothing (an empty text), due (compared at all), won, reason."""
    won, due, nothing = pl.col("won").is_not_null(), pl.col("due"), pl.col("nothing")
    status = pl.when(won).then(pl.lit(str(RatingStatus.OK))).when(due).then(pl.lit(str(RatingStatus.UNREADABLE)))
    reason = (
        pl.when(nothing).then(pl.lit(str(Reason.EMPTY_COMPLETION))).when(~due).then(pl.lit(str(Reason.NOT_COMPARED)))
    )
    return shares.select(
        "completion_id",
        judge=pl.lit(name),
        attempt=pl.lit(0, pl.Int16),
        raw=pl.lit(None, pl.String),
        rating=pl.col("won").round(9),
        rating_status=status.otherwise(pl.lit(str(RatingStatus.ABSENT))),
        wim=pl.lit(None, pl.String),
        wim_status=pl.lit(str(WimStatus.ABSENT)),
        reason=reason.when(~won).then("reason"),
        scale_min=pl.lit(0.0),
        scale_max=pl.lit(1.0),
    )


def summary(table: pl.DataFrame) -> dict[str, float]:
    """What to know of the judges' verdicts: how many can be read, and how far the order of the two decides.

    ``agree``: pairs on which both orders have the same verdict; ``first_preferred``: verdicts for the one that
    stood first, ties half: 0.5 of a judge without a bias of position.
    """
    found = counting(table)
    read = found.drop_nulls("grade")
    for_first = pl.col("grade") * (1 - 2 * pl.col("order").cast(pl.Int16))
    first = read.select(pl.when(for_first > 0).then(1.0).when(for_first < 0).then(0.0).otherwise(0.5).mean()).item()
    both = read.group_by("a", "b", "judge").agg(pl.len(), pl.col("verdict").n_unique()).filter(pl.col("len") == 2)
    result: dict[str, float] = {
        "asked": len(found),
        "unreadable": len(found) - len(read),
        "ties": int((read["grade"] == 0).sum()),
    }
    if len(both):
        result |= {"agree": int((both["verdict"] == 1).sum()) / len(both), "first_preferred": float(first)}
    return result
