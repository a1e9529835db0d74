"""Which completions of a run are written again, and which completions these will be."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from builder import ids, judgements, tables
from builder.compare import check_judge, comparable
from builder.errors import TableError
from builder.params import Params
from builder.statuses import WimStatus

PLAN = ["completion_id", "index", "refined_from", "refined_judge", "copy"]
MOST = 32_767
"""The highest index of a completion."""


def said(files: Mapping[str, Path]) -> pl.DataFrame:
    """For each completion its place (prompt_id, index) and what its judges say: a list of judge and wim_status."""
    completions = tables.read(files["completions"], "completions", ["completion_id", "prompt_id", "index"])
    used = judgements.used(tables.read(files["feedback"], "feedback", judgements.READ))
    told = used.group_by("completion_id", maintain_order=True).agg(said=pl.struct("judge", "wim_status"))
    return completions.sort("completion_id").join(told, on="completion_id", how="left", maintain_order="left")


def statuses(judged: pl.DataFrame) -> dict[str, int]:
    """Completions by the first of the statuses that any judge gives them."""
    status = pl.col("said").list.eval(pl.element().struct.field("wim_status"))
    found = pl.lit(str(WimStatus.ABSENT))
    for each in (WimStatus.UNREADABLE, WimStatus.NOTHING, WimStatus.MISSING):
        found = pl.when(status.list.contains(str(each))).then(pl.lit(str(each))).otherwise(found)
    counts = dict(judged.select(found.alias("status")).group_by("status").len().iter_rows())
    return {str(each): counts.get(str(each), 0) for each in WimStatus}


def planned(judged: pl.DataFrame, files: Mapping[str, Path], params: Params) -> pl.DataFrame:
    """The rewritings there will be (PLAN), by the completion they come from, its judge and their number.

    Their indices go on after the highest of their prompt. Raises TableError where these would pass 32,767 or where
    an id is taken, as one that was ingested may be, and for a judge by name that is none of the run's.
    """
    settings = params.refine
    missing = judged.explode("said").drop_nulls("said").unnest("said")
    if settings.judge is not None and settings.judge not in missing["judge"]:
        known = ", ".join(missing["judge"].unique().sort())
        raise TableError(f"refine.judge is {settings.judge!r}; there are {known or 'none: nobody has judged'}")
    missing = missing.filter(pl.col("wim_status") == str(WimStatus.MISSING))
    if settings.judge is not None:
        missing = missing.filter(pl.col("judge") == settings.judge)
    if "ratings" in files:
        missing = missing.join(_extreme(missing, files["ratings"], params), on="completion_id", how="semi")
    copies = pl.DataFrame({"copy": range(settings.n)}, schema={"copy": pl.Int64})
    plan = missing.sort("completion_id", "judge").join(copies, how="cross", maintain_order="left_right")
    last = judged.group_by("prompt_id").agg(last=pl.col("index").max().cast(pl.Int64))
    plan = plan.join(last, on="prompt_id", how="left", maintain_order="left")
    plan = plan.with_columns(index=pl.col("last") + 1 + pl.int_range(pl.len()).over("prompt_id"))
    if (plan["index"].max() or 0) > MOST:  # type: ignore[operator]
        raise TableError(f"{files['completions']}: a prompt would have completions beyond index {MOST:,}")
    names = [ids.completion_id(prompt, index) for prompt, index in plan.select("prompt_id", "index").iter_rows()]
    plan = plan.rename({"completion_id": "refined_from", "judge": "refined_judge"})
    plan = plan.with_columns(pl.Series("completion_id", names, pl.String), pl.col("index").cast(pl.Int16))
    taken = plan.join(judged, on="completion_id", how="semi")
    if len(taken):
        raise TableError(f"{files['completions']}: {taken['completion_id'][0]} is there, and a rewriting would be it")
    return plan.select(PLAN)


def _extreme(missing: pl.DataFrame, ratings: Path, params: Params) -> pl.DataFrame:
    """Of those in which something is missing, the worst or best of each prompt by reward; equals by their ids."""
    rated = tables.read(ratings, "ratings", ["completion_id", "prompt_id", "judge", "reward"])
    check_judge(params.pair.judge, rated["judge"])
    nameless = rated.select("completion_id", text="completion_id").unique()  # their texts are not compared here
    values = comparable(rated, nameless, "reward", params.pair.judge).join(missing, on="completion_id", how="semi")
    ordered = values.sort("value", "completion_id", descending=[params.refine.which == "best", False])
    return ordered.group_by("prompt_id", maintain_order=True).head(params.refine.limit).select("completion_id")
