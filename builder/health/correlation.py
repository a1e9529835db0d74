"""Spearman's rank correlation, over all rows and within groups (prompts, say)."""

from collections.abc import Sequence
from typing import Any

import polars as pl

DECIMALS = 9


def ranks(frame: pl.DataFrame, one: str, other: str, groups: Sequence[str]) -> dict[str, Any]:
    """``overall``, ``within`` and ``n``, the rows that both are from; None where there is nothing to correlate.

    ``within`` pools the groups: ranks inside each group, less the group's mean rank, correlated over all of them. It
    is what bears on pairs, whose two sides are of one prompt.
    """
    values = [pl.col(name).cast(pl.Float64).round(DECIMALS) for name in (one, other)]
    both = frame.select(*values, *groups).drop_nulls([one, other])
    names = (one, other)
    overall = both.select(_centred(pl.col(name)) for name in names)
    within = both.select(_centred(pl.col(name)).over(groups) for name in names)
    return {"within": _cosine(within, *names), "overall": _cosine(overall, *names), "n": len(both)}


def _centred(values: pl.Expr) -> pl.Expr:
    return values.rank("average") - (pl.len() + 1) / 2


def _cosine(frame: pl.DataFrame, one: str, other: str) -> float | None:
    a, b = frame[one].to_numpy(), frame[other].to_numpy()
    lengths = float(a @ a) * float(b @ b)
    return round(float(a @ b) / lengths**0.5, 6) if lengths > 0 else None
