"""Numbers of several splits as means with 95% intervals, and as tables of Markdown."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from bench.reward.compare import HELD_OUT
from bench.reward.graded import Numbers
from bench.reward.learn import LENGTH, LOSSES

PLAIN = "bradley_terry"
KEY = ["data", "reference", "share", "loss", "measure"]
MEASURES = {
    "accuracy": "Accuracy",
    "nll": "Negative log-likelihood of the preference",
    "calibration": "Expected calibration error",
    "tau": "Kendall's tau-b within a prompt",
    "graded_nll": "Negative log-likelihood of the grade",
}


class Interval(NamedTuple):
    mean: float
    low: float
    high: float


def interval(values: Numbers) -> Interval:
    """The mean over splits and its 95% interval.

    Splits share their prompts, so that they vary less than new prompts would: the variance of the mean is
    (1 / splits + held out / learned from) times theirs, Student's t with splits - 1 degrees of freedom (Nadeau and
    Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003).
    """
    from scipy import stats

    mean, splits = float(np.mean(values)), len(values)
    if splits < 2:
        return Interval(mean, mean, mean)
    spread = np.sqrt((1 / splits + HELD_OUT / (1 - HELD_OUT)) * np.var(values, ddof=1))
    half = float(stats.t.ppf(0.975, splits - 1) * spread)
    return Interval(mean, mean - half, mean + half)


def summary(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` of compare.Row and ``data``, whose they are -> KEY, splits, mean, low, high; and over_mean, over_low,
    over_high: of the differences from Bradley-Terry on the same splits, null for itself.
    """
    plain = rows.filter(pl.col("loss") == PLAIN).drop("loss")
    both = rows.join(plain, on=["data", "reference", "seed", "share", "measure"], how="left", suffix="_plain")
    found = []
    for key, own in both.sort("seed").group_by(KEY, maintain_order=True):
        value, base = own["value"].to_numpy(), own["value_plain"].to_numpy()
        over = (None, None, None) if key[KEY.index("loss")] == PLAIN else interval(value - base)
        found.append((*key, len(own), *interval(value), *over))
    names = [f"{of}{name}" for of in ("", "over_") for name in Interval._fields]
    schema = dict.fromkeys(names, pl.Float64)
    return pl.DataFrame(found, schema={**{k: rows.schema[k] for k in KEY}, "splits": pl.Int64, **schema}, orient="row")


def tables(found: pl.DataFrame) -> str:
    """Of all measures on all of the prompts, of the differences, and of the course over the shares."""
    whole = found.filter(pl.col("share") == pl.col("share").max().over("data"))
    parts = []
    for measure, title in MEASURES.items():
        own, course = (each.filter(pl.col("measure") == measure) for each in (whole, found))
        parts.append(f"**{title}**\n\n{_table(own, ['data', 'reference'])}")
        over = own.filter(pl.col("over_mean").is_not_null())
        parts.append(f"**{title}, less that of Bradley-Terry**\n\n{_table(over, ['data', 'reference'], 'over_')}")
        if len(course) > len(own):
            parts.append(f"**{title}, by share**\n\n{_table(course, ['data', 'reference', 'share'])}")
    return "\n\n".join(parts)


def _table(found: pl.DataFrame, down: list[str], of: str = "") -> str:
    """A row for each of ``down``, a column for each loss."""
    form = "{:+.3f} [{:+.3f}, {:+.3f}]" if of else "{:.3f} [{:.3f}, {:.3f}]"
    losses = [loss for loss in (*LOSSES, LENGTH) if loss in found["loss"]]
    lines = [_line([*down, *losses]), _line(["---"] * (len(down) + len(losses)))]
    for key, own in found.group_by(down, maintain_order=True):
        numbers = own.select("loss", *(f"{of}{name}" for name in Interval._fields))
        cells = {loss: form.format(*interval) for loss, *interval in numbers.iter_rows()}
        lines.append(_line([*map(str, key), *(cells.get(loss, "") for loss in losses)]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
