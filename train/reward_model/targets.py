"""What a loss is told of each pair: nothing but the order, the margin, or the grade."""

import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from builder.params import Reward
from train.reward_model import grades


@dataclass(frozen=True)
class Targets:
    """``values``: one for each pair, null where there is none: ``untold`` pairs. ``cuts``: of delta, if it was cut."""

    values: pl.Series
    untold: int = 0
    cuts: tuple[float, ...] | None = None

    @staticmethod
    def columns(settings: Reward) -> list[str]:
        """Further columns of pairs.parquet that are read."""
        return [] if settings.grades_from in (grades.DELTA, grades.COMPARISONS) else [settings.grades_from]

    @classmethod
    def of(cls, pairs: pl.DataFrame, held: Collection[str], folder: Path, settings: Reward) -> "Targets":
        """For all ``pairs``; where delta is cut is told by those that are not ``held`` out. Raises WimError."""
        delta, cut = pairs["delta"], None
        if not settings.is_ordinal:
            values = delta if settings.loss == "margin" else pl.zeros(len(pairs), pl.Float64, eager=True)
            values = values.set(delta <= 0, None)
        elif settings.grades_from == grades.DELTA:
            cut = grades.cuts(pairs.filter(~pl.col("prompt_id").is_in(list(held)))["delta"], settings.grades)
            values = grades.of_delta(delta, cut, settings.grades)
        elif settings.grades_from == grades.COMPARISONS:
            told = grades.compared(folder, pairs, settings.grades)
            values = grades.of_values(told, settings.grades, f"{folder}/comparisons.parquet")
        else:
            where = f"{folder}/pairs.parquet: column {settings.grades_from!r}"
            values = grades.of_values(pairs[settings.grades_from], settings.grades, where)
        untold = 0 if settings.loss == "listwise" else values.null_count()
        if untold:
            why = "no grade" if settings.is_ordinal else "no preference, for they are ties"
            print(f"left out: {untold:,} of {len(pairs):,} pairs have {why}", file=sys.stderr)
        return cls(values, untold, cut)
