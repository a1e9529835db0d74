"""rate: feedback and vectors -> ratings.parquet."""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from builder import judgements, ratings, tables
from builder.health import generic
from builder.params import Params, Rate
from builder.ratings import Rating, is_together, learns, numerical, wim
from builder.ratings import Vectors as Lookup
from builder.statuses import RatingStatus, Reason, WimStatus
from builder.streams import aside, spans, vectors_in_order
from builder.streams.vectors import BLOCK, Block, Vectors


@dataclass(frozen=True)
class Made:
    """Judgements, and how many of them the run's method can rate."""

    judgements: int
    ratable: int


def run(folder: Path, params: Params) -> Made:
    """Write ratings.parquet. The tables are read, rated and put aside span by span."""
    wanted = ratings.wanted(params)
    names = ("completions", "feedback", "embeddings", *(["prompts"] if ratings.reads_prompts(wanted.values()) else []))
    inputs = {name: tables.find(folder, name) for name in names}
    judged = tables.fingerprints({"completions": inputs["completions"]})
    tables.check_made_from(inputs["feedback"], judged, "judge")
    settings = {"rating": vars(params.rating), "rate": told(params.rate), "seed": params.seed}
    texts, judges, counts = generic.Collected(), set[str](), [0, 0]
    with contextlib.closing(aside.Frames(folder)) as kept:
        for rated in _Run(inputs, params, wanted).rated(texts):
            kept.add(rated)
            judges.update(rated.filter("ratable")["judge"].unique())
            counts = [counts[0] + int((rated["judge"] != "").sum()), counts[1] + int(rated["ratable"].sum())]
        about = tables.metadata("rate", settings, inputs, generic=texts.summary(), **ratings.asked(wanted))
        _write(tables.path(folder, "ratings"), kept, len(judges) > 1, about)
    return Made(*counts)


def told(rate: Rate) -> dict[str, Any]:
    """The block as metadata tells it: a reward model by its content, under ``asked``, and not by its folder."""
    return {name: value for name, value in vars(rate).items() if name != "reward_model"}


def _write(file: Path, kept: aside.Frames, several: bool, about: Mapping[str, Any]) -> None:
    """The table of what was kept, with ``disagreement`` where several judges have ratable judgements."""
    assert kept.schema is not None
    more = [field for field in kept.schema if field.name not in tables.SCHEMAS["ratings"].names]
    frames = kept.frames()
    if several:
        more.append(pa.field("disagreement", pa.float64()))
        frames = (frame.with_columns(disagreement=_disagreement()) for frame in frames)
    tables.write_blocks(file, "ratings", spans.even(frames, tables.ROW_GROUP), about, more)


class _Run:
    """A run's tables, whose judgements and vectors may be larger than memory."""

    def __init__(self, inputs: Mapping[str, Path], params: Params, wanted: Mapping[str, Rating]) -> None:
        self.inputs, self.params = inputs, params
        self.stored = judgements.Stored(inputs["completions"], inputs["feedback"], inputs.get("prompts"))
        self.wanted = wanted
        self.together = {name: rating for name, rating in wanted.items() if is_together(rating) and not learns(rating)}
        alone = (rating for name, rating in wanted.items() if name not in self.together)
        self.alone = [wim.Rating(params), *alone]

    def rated(self, texts: generic.Collected) -> Iterator[pl.DataFrame]:
        """The ratings, span by span; ``texts`` gets to see each block."""
        ratings.learn(self.wanted.values(), self._frames)
        wholes, done = self._together(), 0
        with vectors_in_order.lookups(self.inputs["embeddings"], self._texts) as lookups:
            for frame in self._frames():
                rated = []
                for block in _blocks(frame):
                    vectors = Block(next(lookups))
                    rated.append(_rated(block, vectors, self.params, self.wanted, wholes.slice(done, len(block))))
                    texts.add(block, vectors)
                    del vectors  # before the next block's are read
                    done += len(block)
                yield pl.concat(rated)

    def _frames(self) -> Iterator[pl.DataFrame]:
        return (frame.with_columns(on_scale(self.params)) for frame in self.stored.frames())

    def _texts(self) -> Iterator[list[pl.Series]]:
        """Block by block the columns of texts that are looked up."""
        for frame in self._frames():
            for block in _blocks(frame):
                yield [column for rating in self.alone for column in rating.texts(block)]

    def _together(self) -> pl.DataFrame:
        """As ``_together``, of those that do not learn: only here all judgements are held, with the texts they read."""
        if not self.together:
            return pl.DataFrame()
        completions = tables.read(self.inputs["completions"], "completions", judgements.COMPLETIONS)
        feedback = tables.read(self.inputs["feedback"], "feedback", judgements.FEEDBACK)
        frame = judgements.collect(completions, feedback)
        del completions, feedback
        if not any(rating.uses & {"completion", "length"} for rating in self.together.values()):
            frame = frame.drop("text")
        if ratings.reads_prompts(self.together.values()):
            prompts = tables.read(self.inputs["prompts"], "prompts", judgements.PROMPTS)
            frame = judgements.with_prompts(frame, prompts)
        with contextlib.ExitStack() as opened:
            file = self.inputs["embeddings"]
            held = functools.cache(lambda: opened.enter_context(contextlib.closing(Vectors(file))))
            return _together(frame.with_columns(on_scale(self.params)), lambda texts: held()(texts), self.together)


def _blocks(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Of at most BLOCK judgements; one of none."""
    return (frame.slice(start, BLOCK) for start in range(0, max(len(frame), 1), BLOCK))


def rate(frame: pl.DataFrame, vectors: Lookup, params: Params) -> pl.DataFrame:
    """The ratings table of some judgements (``judgements.collect``), in their order.

    Columns beyond the schema hold the further ratings of ``rate.also``, and ``disagreement``.
    """
    frame, wanted = frame.with_columns(on_scale(params)), ratings.wanted(params)
    together = {name: rating for name, rating in wanted.items() if is_together(rating)}
    return _with_disagreement(_rated(frame, vectors, params, wanted, _together(frame, vectors, together)))


def _with_disagreement(rated: pl.DataFrame) -> pl.DataFrame:
    """Of several judges with ``disagreement``: the standard deviation (ddof 0) of a completion's rewards over them."""
    if rated.filter("ratable")["judge"].n_unique() < 2:
        return rated
    return rated.with_columns(disagreement=_disagreement())


def _disagreement() -> pl.Expr:
    rewards = pl.col("reward")
    return pl.when(rewards.count().over("completion_id") > 1).then(rewards.std(ddof=0).over("completion_id"))


def _together(frame: pl.DataFrame, vectors: Lookup, together: Mapping[str, Rating]) -> pl.DataFrame:
    """The columns of those ratings that read all judgements of a run at once (builder.ratings)."""
    return frame.select(rating.rate(frame, vectors).alias(name) for name, rating in together.items())


def _rated(
    frame: pl.DataFrame, vectors: Lookup, params: Params, wanted: Mapping[str, Rating], wholes: pl.DataFrame
) -> pl.DataFrame:
    """``rate`` of a block of judgements, with their rows of ``_together``."""
    number, text = numerical.Rating(params).rate(frame, vectors), wim.Rating(params).rate(frame, vectors)
    known = {"numerical": number, "wim": text} | wholes.to_dict()
    rated = frame.with_columns(
        number.alias("R"),
        text.alias("wim"),
        (5 * (1 + text)).alias("wim_10"),
        wim.missingness(text, vectors(wim.missing_text(frame))),
        pl.col("text").str.len_chars().cast(pl.Int32).alias("length"),
    )
    method = params.rate.method
    rated = rated.with_columns(_column(method, frame, vectors, wanted, known).alias("reward"))
    rated = rated.with_columns(reason(wanted[method]).alias("reason"))
    ratable = pl.col("reason").is_null()
    rated = rated.with_columns(pl.when(ratable).then("reward").alias("reward"), ratable.alias("ratable"))
    also = [_column(name, frame, vectors, wanted, known).alias(name) for name in _also(params)]
    return rated.select(tables.SCHEMAS["ratings"].names).with_columns(also)


def _column(
    name: str, frame: pl.DataFrame, vectors: Lookup, wanted: Mapping[str, Rating], known: dict[str, pl.Series]
) -> pl.Series:
    return known[name] if name in known else wanted[name].rate(frame, vectors)


def _also(params: Params) -> list[str]:
    """Further ratings; those that have a column of their own need no other."""
    return [name for name in params.rate.also if name not in ("wim", "numerical")]


def on_scale(params: Params) -> pl.Expr:
    """The number, mapped linearly from the judge's own scale to the scale of the parameters; null outside it."""
    low, high = params.rating.scale
    own_low, own_high = pl.col("scale_min").fill_null(low), pl.col("scale_max").fill_null(high)
    same = (own_low == low) & (own_high == high)
    mapped = low + (pl.col("rating") - own_low) * (high - low) / (own_high - own_low)
    readable = (pl.col("rating_status") == str(RatingStatus.OK)) & pl.col("rating").is_between(own_low, own_high)
    return pl.when(readable).then(pl.when(same).then("rating").otherwise(mapped)).alias("rating")


def reason(method: Rating) -> pl.Expr:
    """Why a judgement is not ratable under ``method``, whose ratings stand in ``reward``; null if it is."""
    uses = method.uses
    cases = [
        (judgements.is_empty(pl.col("text")), pl.lit(str(Reason.EMPTY_COMPLETION))),
        (pl.col("judge") == "", pl.lit(str(Reason.NOT_JUDGED))),
    ]
    if "text" in uses:
        cases += [
            (pl.col("wim_status") == str(WimStatus.ABSENT), pl.lit(str(Reason.NOT_JUDGED))),
            (pl.col("wim_status") == str(WimStatus.UNREADABLE), _said("reason", Reason.NO_BRACKETS)),
        ]
    if "number" in uses:
        cases += [
            (pl.col("rating_status") == str(RatingStatus.ABSENT), pl.lit(str(Reason.NO_RATING))),
            (pl.col("rating_status") != str(RatingStatus.OK), _said("reason", Reason.NOT_A_NUMBER)),
            (pl.col("rating").is_null(), pl.lit(str(Reason.OUT_OF_SCALE))),
        ]
    cases += [
        (pl.col(column).is_null(), pl.lit(str(reason)))
        for column, reason in (("prompt", Reason.NO_PROMPT), ("reference", Reason.NO_REFERENCE))
        if column in uses
    ]
    cases.append((pl.col("reward").is_null(), pl.lit(str(getattr(method, "null_reason", Reason.ZERO_VECTOR)))))
    return pl.coalesce([pl.when(found).then(reason) for found, reason in cases])


def _said(column: str, otherwise: Reason) -> pl.Expr:
    return pl.col(column).fill_null(str(otherwise))
