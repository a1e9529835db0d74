"""stats.json: the accounting from prompts to pairs, and tie statistics of the methods (design: definitions)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from builder import ids, judgements, tables
from builder.compare import JudgedPairs, comparable, judged_pairs, scaled
from builder.errors import TableError
from builder.params import Params
from builder.statuses import RatingStatus, WimStatus


@dataclass(frozen=True)
class Tables:
    """What pairing reads; ``feedback`` holds the attempts that count."""

    prompts: pl.DataFrame
    completions: pl.DataFrame
    feedback: pl.DataFrame
    ratings: pl.DataFrame


def summary(
    read: Tables, judged: JudgedPairs, pairs: pl.DataFrame, truncated: int | None, params: Params
) -> dict[str, Any]:
    """stats.json. Raises TableError where the counts do not add up."""
    compared = judged.values["completion_id"]
    empty = int(read.completions.select(judgements.is_empty(pl.col("text")).sum()).item())
    counts = {
        "prompts": _prompts(read, judged, pairs),
        "completions": {
            "total": len(read.completions),
            "empty": empty,
            "truncated_for_embedding": truncated,
            "compared": len(compared),
        },
        "judgements": _judgements(read),
        "pairs": len(pairs),
    }
    _check(counts, read)
    return counts | {"methods": _methods(read, judged, params)}


def truncated_completions(embeddings: Path, completions: pl.DataFrame) -> int | None:
    """Completions whose end the embedder did not read; None where nothing is embedded."""
    if not embeddings.is_file():
        return None
    texts = pl.DataFrame(pq.read_table(embeddings, columns=["text_id", "truncated"]))
    cut = set(texts.filter("truncated")["text_id"])
    return sum(ids.text_id(text) in cut for text in completions["text"]) if cut else 0


def usage(files: Mapping[str, Path]) -> dict[str, Any]:
    """Tokens and cost of the tables that an engine made, as these say; nothing for an import."""
    stages = {"completions": "complete", "feedback": "judge"}
    said = {stage: tables.read_metadata(files[name]).get("usage") for name, stage in stages.items()}
    return {"usage": {stage: usage for stage, usage in said.items() if usage}} if any(said.values()) else {}


def _prompts(read: Tables, judged: JudgedPairs, pairs: pl.DataFrame) -> dict[str, int]:
    """Every prompt is paired, tied (comparable completions, no pair) or has too few to compare."""
    paired = pairs["prompt_id"].n_unique()
    several = judged.values["prompt_id"].gather(judged.better).n_unique()
    total = len(read.prompts)
    return {"total": total, "paired": paired, "tied": several - paired, "too_few": total - several}


def _judgements(read: Tables) -> dict[str, Any]:
    status = read.feedback["wim_status"]
    judged = read.ratings.filter(pl.col("judge") != "")
    reasons = judged.filter(~pl.col("ratable")).group_by("reason").len().sort("reason")
    return {
        "total": len(read.feedback),
        **{str(s): int((status == str(s)).sum()) for s in WimStatus},
        "rating_unreadable": int((read.feedback["rating_status"] == str(RatingStatus.UNREADABLE)).sum()),
        "ratable": int(judged["ratable"].sum()),
        "reasons": dict(reasons.iter_rows()),
    }


def _methods(read: Tables, judged: JudgedPairs, params: Params) -> dict[str, Any]:
    low, high = params.rating.scale
    ratings = read.ratings.with_columns(
        # As in the run's own method: a judgement on an empty completion counts nowhere.
        pl.when(pl.col("reason").fill_null("") != "empty_completion").then(column).alias(column)
        for column in ("R", "wim")
    )
    per_r = (high - low) / 2 if params.rating.rescale else (high + low) / 2
    numerical = judged_pairs(comparable(ratings, read.completions, "R", scaled(params.pair.judge)))
    wim = judged_pairs(comparable(ratings, read.completions, "wim", scaled(params.pair.judge)))
    return {
        "numerical": _method(numerical, params.pair.min_gap, abs(per_r), (low + high) / 2, high - low),
        "wim": _method(wim, params.pair.min_gap, 5.0, 5.0, 10.0),
        "reward": _method(judged, params.pair.min_gap, 1.0, 0.0, 2.0),
    }


def _method(judged: JudgedPairs, min_gap: float, factor: float, middle: float, width: float) -> dict[str, Any]:
    """Statistics on the method's display scale: middle + factor * value, which is ``width`` wide."""
    values = middle + factor * judged.values["value"].to_numpy()
    pairs, ties = len(judged.delta), int(judged.tied(min_gap).sum())
    delta = factor * float(judged.delta.mean()) if pairs else None
    std = float(values.std(ddof=0)) if len(values) else None
    return {
        "judged_pairs": pairs,
        "ties": ties,
        "tie_rate": ties / pairs if pairs else None,
        "average_delta": delta,
        "normalised_delta": delta / width if delta is not None else None,
        "effect_delta": delta / std if delta is not None and std else None,
        "mean": float(values.mean()) if len(values) else None,
        "std": std,
        "skewness": skewness(values),
    }


def skewness(values: NDArray[np.float64]) -> float | None:
    """The biased g1 = m3 / m2**1.5 (scipy's default); None where all values are equal."""
    if not len(values):
        return None
    centred = values - values.mean()
    m2 = float(np.mean(centred**2))
    if m2 <= (np.finfo(float).resolution * float(values.mean())) ** 2:
        return None
    return float(np.mean(centred**3) / m2**1.5)


def _check(counts: dict[str, Any], read: Tables) -> None:
    """The accounting identities of design.md section 2."""
    said, prompts = counts["judgements"], counts["prompts"]
    held = {
        "missing + nothing + unreadable + absent = judgements": said["total"]
        == sum(said[str(status)] for status in WimStatus),
        "every judgement is ratable or has a reason": said["total"] == said["ratable"] + sum(said["reasons"].values()),
        "every completion is judged or has a reason": set(read.ratings["completion_id"])
        == set(read.completions["completion_id"]),
        "paired + tied + too_few = prompts": all(v >= 0 for v in prompts.values())
        and prompts["total"] == prompts["paired"] + prompts["tied"] + prompts["too_few"],
    }
    broken = [identity for identity, holds in held.items() if not holds]
    if broken:
        raise TableError(f"the counts do not add up: {'; '.join(broken)}. Was a table made from others than these?")
