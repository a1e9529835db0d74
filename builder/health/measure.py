"""What a run tells of its ratings' health without any truth: a part of stats.json.

None of these figures says that a rating is right. Each can say that it is not to be trusted: limits.py holds where.
"""

from pathlib import Path
from typing import Any

import polars as pl

from builder import tables
from builder.errors import TableError
from builder.health import correlation, limits, quotes, retest, sample, sensitivity
from builder.statuses import RatingStatus, Reason, WimStatus

RATINGS = {"numerical": "rating", "wim": "wim", "reward": "reward"}
CORRELATED = 20_000
QUOTED = 2_000
"""Judgements, of whole prompts drawn by hash: more would cost much and tell hardly more."""

OTHERS = "(others)"
"""Judges beyond the ``retest.MOST`` that have judged most."""


def of_run(folder: Path) -> dict[str, Any]:
    """stats.json of a run; to its health are added ``embedders`` (wim stats --embedder) and ``warnings``."""
    file = folder / "stats.json"
    if not file.is_file():
        raise TableError(f"{file} does not exist: run `wim pair {folder}` first")
    summary: dict[str, Any] = tables.read_json(file)
    if "health" in summary:
        summary["health"]["embedders"] = sensitivity.known(folder)
        summary["health"]["warnings"] = limits.warnings(summary)
    return summary


def measure(
    completions: pl.DataFrame, feedback: pl.DataFrame, ratings: pl.DataFrame, generic: dict[str, Any] | None
) -> dict[str, Any]:
    """The figures; ``feedback`` holds the attempts that count, ``generic`` what `wim rate` has said of the texts."""
    figures = Figures(sample.of_prompts(counted(ratings)["prompt_id"], CORRELATED))
    figures.add(completions, feedback, ratings)
    return figures.summary(generic)


def counted(ratings: pl.DataFrame) -> pl.DataFrame:
    """The judgements that the sample is drawn from."""
    empty = pl.col("reason").fill_null("") == str(Reason.EMPTY_COMPLETION)
    return ratings.filter(pl.col("judge") != "", ~empty)


class Figures:
    """``measure`` of a run that is read part by part: ``drawn`` are the prompts of its sample."""

    def __init__(self, drawn: pl.Series) -> None:
        self.drawn = drawn
        self.said: list[pl.DataFrame] = []
        self.askings: list[pl.DataFrame] = []

    def add(self, completions: pl.DataFrame, feedback: pl.DataFrame, ratings: pl.DataFrame) -> None:
        """Whole prompts."""
        judged = counted(ratings.filter(pl.col("prompt_id").is_in(self.drawn.implode())))
        self.said.append(tables.detached(_with_texts(completions, feedback, judged)))
        self.askings.append(tables.detached(_by_asking(feedback)))

    def summary(self, generic: dict[str, Any] | None) -> dict[str, Any]:
        """The figures of all parts."""
        said = pl.concat(self.said)
        told = said.drop_nulls("feedback")
        quoted = sample.rows(told, QUOTED)
        return {
            "length": {
                "completion": {name: _with(said, column, "completion_letters") for name, column in RATINGS.items()},
                "feedback": {name: _with(told, column, "feedback_letters") for name, column in RATINGS.items()},
            },
            "words_and_number": _with(said, "wim", "rating"),
            "generic": generic or {"share": None, "n": 0, "unmeasured": "`wim rate` has not said"},
            "quotes": quotes.quoting(quoted["feedback"], quoted["text"]),
            "retest": retest.agreement(said),
            "judges": _by_judge(pl.concat(self.askings)),
        }


def _with_texts(completions: pl.DataFrame, feedback: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """Judgements with both texts; ``feedback`` is null unless it says that something is missing."""
    wanted = completions.filter(pl.col("completion_id").is_in(judged["completion_id"].unique().implode()))
    words = feedback.filter(pl.col("completion_id").is_in(wanted["completion_id"].implode()))
    missing = pl.when(pl.col("wim_status") == str(WimStatus.MISSING)).then("wim").alias("feedback")
    joined = judged.join(wanted.select("completion_id", "text"), on="completion_id", how="left", maintain_order="left")
    joined = joined.join(
        words.select("completion_id", "judge", missing),
        on=["completion_id", "judge"],
        how="left",
        maintain_order="left",
    )
    return joined.with_columns(
        pl.col("text").str.len_chars().alias("completion_letters"),
        pl.col("feedback").str.len_chars().alias("feedback_letters"),
    )


def _with(said: pl.DataFrame, one: str, other: str) -> dict[str, Any]:
    """Rank correlations; within the prompts of each judge, since judges differ in how high they rate."""
    return correlation.ranks(said, one, other, ["prompt_id", "judge"])


def judges(feedback: pl.DataFrame) -> dict[str, dict[str, int]]:
    """What could not be read of each judge, in counts of its judgements; askings of one judge count together.

    ``asked_again``: read at a later attempt only. Most judgements first.
    """
    return _by_judge(_by_asking(feedback))


def _by_asking(feedback: pl.DataFrame) -> pl.DataFrame:
    unreadable = pl.col("wim_status") == str(WimStatus.UNREADABLE)
    counts = {
        "judgements": pl.len(),
        "unreadable": unreadable.sum(),
        "placeholder": (unreadable & (pl.col("reason") == str(Reason.PLACEHOLDER))).sum(),
        "rating_unreadable": (pl.col("rating_status") == str(RatingStatus.UNREADABLE)).sum(),
        "asked_again": (pl.col("attempt") > 0).sum(),
    }
    return feedback.group_by("judge").agg(count.cast(pl.Int64).alias(what) for what, count in counts.items())


def _by_judge(by_asking: pl.DataFrame) -> dict[str, dict[str, int]]:
    counts = pl.exclude("judge").sum()
    by_judge = by_asking.group_by(retest.name(pl.col("judge"))).agg(counts)
    by_judge = by_judge.sort("judgements", "judge", descending=[True, False])
    rest = by_judge[retest.MOST :].select(pl.lit(OTHERS).alias("judge"), counts)
    found = pl.concat([by_judge[: retest.MOST], rest.filter(pl.col("judgements") > 0)])
    return {row.pop("judge"): row for row in found.to_dicts()}
