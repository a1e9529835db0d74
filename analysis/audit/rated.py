"""Every rating of a run that can be computed, and the baselines, as one number for each completion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.audit import baselines
from analysis.audit.held import Held
from analysis.audit.kept import Kept
from builder import plugins, rate, ratings
from builder.compare import TOGETHER, comparable
from builder.errors import TableError, WimError
from builder.params import Params
from builder.ratings import Rating, calibrated, is_together
from builder.statuses import Reason
from builder.streams.vectors import BLOCK, Block

ZETAS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The mixture between the number (0) and the text (1), which are ratings of their own."""
JUDGED = frozenset({"text", "number"})
"""Who reads one of these reads a judgement."""

Kind = Literal["rating", "baseline", "control"]


@dataclass(frozen=True, eq=False)
class Rated:
    """``values``: one for each row of the completions table, NaN where there is none; higher is better.

    ``uses`` says what was read. ``set``: the parameters that give this rating; empty for what is no rating.
    ``cost``: what is simpler has less: the things read, whether it is learned, whether it needs embeddings.
    ``combines``: it is made of other ratings.
    """

    name: str
    kind: Kind
    uses: frozenset[str]
    set: Mapping[str, Any]
    cost: tuple[int, ...]
    values: NDArray[np.float64]
    combines: bool = False


@dataclass(frozen=True)
class Found:
    """``left_out``: why a rating could not be computed, by its name."""

    rated: list[Rated]
    left_out: dict[str, str]


def name_of(method: str, zeta: float) -> str:
    """What a rating is called: the mixture by its zeta, whose ends are ratings of their own."""
    if method != "mixed":
        return method
    return {0.0: "numerical", 1.0: "wim"}.get(zeta, f"mixed:{zeta:g}")


def find(run: Path, judgements: pl.DataFrame, completions: pl.DataFrame, params: Params, held: Held) -> Found:
    """All ratings of ``judgements`` (builder.judgements.collect, and ``prompt``, the prompt's text) on ``completions``.

    ``held``: the embeddings that there are. Raises TableError if pair.judge is nobody.
    """
    names = [name for name in judgements["judge"].unique().sort() if name]
    if names and params.pair.judge not in (*TOGETHER, *names):
        raise TableError(f"{run}: pair.judge is {params.pair.judge!r}; there are {', '.join([*TOGETHER, *names])}")
    frame = judgements.with_columns(rate.on_scale(params), baselines.swapped(judgements))
    wanted, left_out = _ratings(run, params)
    held.want([column for each in wanted for column in each.rating.texts(frame)])
    ready = []
    for each in wanted:
        if not _readable(frame, each.rating):
            left_out[each.name] = _nothing_to_read(each.rating)
            continue
        lacking = held.lacking(each.rating.texts(frame))
        if lacking:
            left_out[each.name] = _how(each, lacking, run)
        else:
            ready.append(each)
    columns = _rate(frame, ready, held, left_out)
    rated = []
    for each in ready:
        if each.name in columns:
            values = _by_completion(frame, columns[each.name], each.rating, completions, params.pair.judge)
            if np.isfinite(values).any():
                cost = len(each.rating.uses), int(is_together(each.rating)), int(bool(each.rating.texts(frame)))
                made_of = bool(getattr(each.rating, "combines", False))
                rated.append(Rated(each.name, each.kind, each.rating.uses, each.set, cost, values, made_of))
            else:
                left_out[each.name] = _why_none(each.rating)
    return Found(rated, left_out)


@dataclass(frozen=True)
class _Wanted:
    name: str
    kind: Kind
    rating: Rating
    set: Mapping[str, Any]


def _ratings(run: Path, params: Params) -> tuple[list[_Wanted], dict[str, str]]:
    settings: dict[str, dict[str, Any]] = {"numerical": {"method": "numerical"}, "wim": {"method": "wim"}}
    own = [params.rate.zeta] if params.rate.method == "mixed" else []
    zetas = sorted({*ZETAS, *own} - {0.0, 1.0})
    settings |= {name_of("mixed", zeta): {"method": "mixed", "zeta": zeta} for zeta in zetas}
    settings |= {name: {"method": name} for name in plugins.names("ratings") if name != "mixed"}
    if not params.rate.weights:
        del settings["combined"]
    wanted: list[_Wanted] = []
    left_out: dict[str, str] = {}
    for name, block in settings.items():
        try:
            rating = _rating(run, name, replace(params, rate=replace(params.rate, **block)), params)
        except WimError as error:
            left_out[name] = str(error)
            continue
        wanted.append(_Wanted(name, "baseline" if rating.uses <= {"chance"} else "rating", rating, block))
    wanted += [_Wanted(name, "baseline", made(params), {}) for name, made in baselines.BASELINES.items()]
    wanted += [_Wanted(name, "control", made(params), {}) for name, made in baselines.CONTROLS.items()]
    return wanted, left_out


def _rating(run: Path, name: str, own: Params, params: Params) -> Rating:
    """The rating of its ``own`` parameters; of one that asks a model what the run, rated by ``params``, holds."""
    rating = ratings.load(own.rate.method, own)
    return Kept(run, name, rating, params) if "engine" in rating.uses else rating


def _readable(frame: pl.DataFrame, rating: Rating) -> bool:
    """Whether the run holds anything that the rating could read."""
    if rating.uses & JUDGED:
        found = frame.with_columns(pl.lit(0.0).alias("reward")).select(rate.reason(rating).is_null().any())
        return bool(found.item())
    return all(frame[name].is_not_null().any() for name in ("prompt", "reference") if name in rating.uses)


def _nothing_to_read(rating: Rating) -> str:
    return f"the run holds nothing that it could read: {', '.join(sorted(rating.uses))}"


def _why_none(rating: Rating) -> str:
    """Why a rating gives no value although the run holds what it reads."""
    reason = getattr(rating, "null_reason", None)
    if reason == Reason.UNCALIBRATED:
        return f"no judge has given the {calibrated.LEAST} numbers that it learns from"
    return f"it gives no completion a value: {reason}" if reason else _nothing_to_read(rating)


def _how(wanted: _Wanted, lacking: int, run: Path) -> str:
    """How to come by what is lacking, in a line."""
    method = wanted.set.get("method")
    also = "" if method in (None, "wim", "mixed") else f" --set rate.also=[{method}]"
    stage = "" if wanted.kind == "baseline" else f", or run `wim embed {run}{also}` first"
    return f"{lacking:,} texts have no vector: add --embed{stage}"


def _rate(
    frame: pl.DataFrame, ready: Sequence[_Wanted], held: Held, left_out: dict[str, str]
) -> dict[str, NDArray[np.float64]]:
    """The columns of the ratings, block by block as builder.rate; one that fails is left out, and says why."""
    parts: dict[str, list[pl.Series]] = {}
    wholes = [each for each in ready if is_together(each.rating)]
    for each in wholes:
        try:
            parts[each.name] = [each.rating.rate(frame, held)]
        except WimError as error:
            left_out[each.name] = str(error)
    for start in range(0, max(len(frame), 1), BLOCK):
        rows, vectors = frame.slice(start, BLOCK), Block(held)
        for each in ready:
            if each not in wholes and each.name not in left_out:
                try:
                    parts.setdefault(each.name, []).append(each.rating.rate(rows, vectors))
                except WimError as error:
                    left_out[each.name] = str(error)
    return {name: pl.concat(part).cast(pl.Float64).to_numpy() for name, part in parts.items() if name not in left_out}


def _by_completion(
    frame: pl.DataFrame, column: NDArray[np.float64], rating: Rating, completions: pl.DataFrame, judge: str
) -> NDArray[np.float64]:
    """One value for each completion, as pairing takes it; who reads no judgement needs none."""
    values = pl.Series("reward", column, nan_to_null=True)
    told = ("completion_id", "prompt_id", "prompt", "reference", "judge", "text")
    rated = frame.select(*told, "wim_status", "rating_status", "rating", "reason", values)
    if rating.uses & JUDGED:
        rated = rated.with_columns(pl.when(rate.reason(rating).is_null()).then("reward").alias("reward"))
        ids = completions.select("completion_id", text="completion_id")
        compared = comparable(rated, ids, "reward", judge)
    else:
        compared = rated.group_by("completion_id").agg(pl.col("reward").mean().alias("value"))
    joined = completions.select("completion_id").join(compared, on="completion_id", how="left", maintain_order="left")
    return joined["value"].cast(pl.Float64).to_numpy().astype(np.float64)
