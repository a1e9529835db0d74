"""The numbers that a judge gave to aspects of a completion, as targets of a reward model's heads."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from builder import judgements, tables
from builder.errors import TableError

COLUMN = "aspects"


@dataclass(frozen=True)
class Aspects:
    """``targets``: by completion_id a number for each of ``names`` in standard units, None where it is not known.

    ``mean`` and ``std`` (ddof 0) of the numbers, over the completions that are learned from.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    targets: dict[str, list[float | None]]


def read(folder: Path) -> pl.DataFrame:
    """completion_id and a column for each aspect: the mean over the judges that told it, of the attempt that counts.

    Raises TableError where no judge gave any.
    """
    file = tables.find(folder, "feedback")
    if COLUMN not in tables.open_parquet(file).schema_arrow.names:
        raise TableError(
            f"{file}: has no column {COLUMN!r}, which reward.heads=aspects learns from; the judges aspects and rubric "
            "write it"
        )
    feedback = judgements.used(tables.read(file, "feedback", [*judgements.FEEDBACK, COLUMN]))
    told = feedback.select("completion_id", COLUMN).drop_nulls().iter_rows()
    rows = [(name, aspect, number) for name, text in told for aspect, number in json.loads(text).items()]
    schema = {"completion_id": pl.String, "aspect": pl.String, "number": pl.Float64}
    long = pl.DataFrame(rows, schema=schema, orient="row").drop_nulls("number")
    if long.is_empty():
        raise TableError(f"{file}: its column {COLUMN!r} holds no number to learn from")
    wide = long.pivot("aspect", index="completion_id", values="number", aggregate_function="mean")
    return wide.select("completion_id", *sorted(set(wide.columns) - {"completion_id"}))


def targets(numbers: pl.DataFrame, names: Iterable[str], learned: Iterable[str]) -> Aspects:
    """Of the completions ``names``; what is standard is told by those ``learned`` from.

    Raises TableError for an aspect that is not known of these, or always the same: there is nothing to learn.
    """
    own = numbers.filter(pl.col("completion_id").is_in(list(learned))).drop("completion_id")
    for numbers_of in own.iter_columns():
        if numbers_of.drop_nulls().n_unique() < 2:  # a standard deviation of equal numbers may be 1e-16
            told = "all completions that are learned from have the same number, or none"
            raise TableError(f"aspect {numbers_of.name!r}: {told}")
    mean, std = own.mean().row(0), own.std(ddof=0).row(0)
    units = zip(own.columns, mean, std, strict=True)
    standard = numbers.select("completion_id", *((pl.col(name) - m) / s for name, m, s in units))
    known = {name: list(values) for name, *values in standard.iter_rows()}
    unknown: list[float | None] = [None] * len(own.columns)
    return Aspects(tuple(own.columns), mean, std, {name: known.get(name, unknown) for name in names})
