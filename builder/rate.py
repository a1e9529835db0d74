"""rate: feedback and vectors -> ratings.parquet."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from builder import judgements, ratings, tables
from builder.health import generic
from builder.params import Params
from builder.ratings import Rating, Vectors, is_together, numerical, wim
from builder.statuses import RatingStatus, Reason, WimStatus
from builder.vectors import BLOCK, Block
from builder.vectors import Vectors as StoredVectors


@dataclass(frozen=True)
class Made:
    """Judgements, and how many of them the run's method can rate."""

    judgements: int
    ratable: int


def run(folder: Path, params: Params) -> Made:
    """Write ratings.parquet, block by block."""
    inputs = {name: tables.find(folder, name) for name in ("completions", "feedback", "embeddings")}
    judged = tables.fingerprints({"completions": inputs["completions"]})
    tables.check_made_from(inputs["feedback"], judged, "judge")
    completions = tables.read(inputs["completions"], "completions", judgements.COMPLETIONS)
    feedback = tables.read(inputs["feedback"], "feedback", judgements.FEEDBACK)
    wanted = ratings.wanted(params)
    frame = ratings.with_prompts(judgements.collect(completions, feedback), folder, wanted.values())
    if ratings.reads_prompts(wanted.values()):
        inputs["prompts"] = tables.find(folder, "prompts")
    del completions, feedback
    settings = {"rating": vars(params.rating), "rate": vars(params.rate), "seed": params.seed}
    texts = generic.Collected(frame)
    starts = range(0, max(len(frame), 1), BLOCK)
    with contextlib.closing(StoredVectors(inputs["embeddings"])) as stored:
        frame = frame.with_columns(on_scale(params))
        wholes = _together(frame, stored, params)
        rated = []
        for start in starts:
            block, vectors = frame.slice(start, BLOCK), Block(stored)
            rated.append(_rated(block, vectors, params, wholes.slice(start, BLOCK)))
            texts.add(start, block, vectors)
    made = _with_disagreement(pl.concat(rated))
    about = tables.metadata("rate", settings, inputs, generic=texts.summary(), **ratings.asked(wanted))
    tables.write(tables.path(folder, "ratings"), "ratings", made, about)
    return Made(int((made["judge"] != "").sum()), int(made["ratable"].sum()))


def rate(frame: pl.DataFrame, vectors: Vectors, params: Params) -> pl.DataFrame:
    """The ratings table of some judgements (``judgements.collect``), in their order.

    Columns beyond the schema hold the further ratings of ``rate.also``, and ``disagreement``.
    """
    frame = frame.with_columns(on_scale(params))
    return _with_disagreement(_rated(frame, vectors, params, _together(frame, vectors, params)))


def _with_disagreement(rated: pl.DataFrame) -> pl.DataFrame:
    """Of several judges with ``disagreement``: the standard deviation (ddof 0) of a completion's rewards over them."""
    if rated.filter("ratable")["judge"].n_unique() < 2:
        return rated
    rewards = pl.col("reward")
    spread = pl.when(rewards.count().over("completion_id") > 1).then(rewards.std(ddof=0).over("completion_id"))
    return rated.with_columns(disagreement=spread)


def _together(frame: pl.DataFrame, vectors: Vectors, params: Params) -> pl.DataFrame:
    """The columns of those wanted ratings that read all judgements of a run at once (builder.ratings)."""
    wanted = ratings.wanted(params)
    return frame.select(r.rate(frame, vectors).alias(name) for name, r in wanted.items() if is_together(r))


def _rated(frame: pl.DataFrame, vectors: Vectors, params: Params, wholes: pl.DataFrame) -> pl.DataFrame:
    """``rate`` of a block of judgements, with their rows of ``_together``."""
    text = wim.Rating(params).rate(frame, vectors)
    rated = frame.with_columns(
        numerical.Rating(params).rate(frame, vectors).alias("R"),
        text.alias("wim"),
        (5 * (1 + text)).alias("wim_10"),
        wim.missingness(text, vectors(wim.missing_text(frame))),
        pl.col("text").str.len_chars().cast(pl.Int32).alias("length"),
    )
    method = ratings.load(params.rate.method, params)
    rated = rated.with_columns(_column(params.rate.method, frame, vectors, params, wholes).alias("reward"))
    rated = rated.with_columns(reason(method).alias("reason"))
    ratable = pl.col("reason").is_null()
    rated = rated.with_columns(pl.when(ratable).then("reward").alias("reward"), ratable.alias("ratable"))
    also = [_column(name, frame, vectors, params, wholes).alias(name) for name in _also(params)]
    return rated.select(tables.SCHEMAS["ratings"].names).with_columns(also)


def _column(name: str, frame: pl.DataFrame, vectors: Vectors, params: Params, wholes: pl.DataFrame) -> pl.Series:
    return wholes[name] if name in wholes.columns else ratings.load(name, params).rate(frame, vectors)


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
