"""What an arm's last policies do on held-out prompts: coverage, and wins against the base model by the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis import winrate
from analysis.intervals import Estimate, pigeonhole
from analysis.paper.experiment import Cell
from analysis.paper.rated import cells as crossed
from builder import tables

COLUMNS = {"value": pl.Float64, "text": pl.String, "base_value": pl.Float64, "base_text": pl.String}
ONE = pl.lit(1.0).alias("n")
LENGTH_RESAMPLES = 400  # each is a fit of its own


Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Versus:
    """Against the base model; a tie counts half in ``win_rate``.

    ``wins`` and ``losses`` are by prompt, from the mean over seeds: seeds share the prompts and are no
    further evidence in an exact test. ``prompts_needed``: of winrate.WinRate.
    """

    difference: Estimate
    win_rate: Estimate
    length_controlled: Estimate | None
    prompts: int
    wins: int
    losses: int
    p_value: float
    prompts_needed: int | None


@dataclass(frozen=True, eq=False)
class Outcome:
    """Of one arm; ``versus`` is None where an older evaluation does not hold the base model's completions."""

    coverage: Estimate
    versus: Versus | None = None


def read(cells: Sequence[Cell]) -> pl.DataFrame | None:
    """seed, prompt_id, value, text, base_value, base_text of every evaluated cell; None where none is.

    A column that an evaluation lacks is null.
    """
    frames = []
    for cell in cells:
        file = tables.path(cell.run.path, "evaluation")
        if not file.is_file():
            continue
        there = tables.open_parquet(file).schema_arrow.names
        wanted = ["prompt_id", *(name for name in COLUMNS if name in there)]
        frame = tables.read(file, "evaluation", wanted).select(
            pl.lit(cell.seed).alias("seed"),
            "prompt_id",
            *(
                (pl.col(name) if name in wanted else pl.lit(None)).cast(kind).alias(name)
                for name, kind in COLUMNS.items()
            ),
        )
        frames.append(frame)
    return pl.concat(frames).sort("seed", "prompt_id") if frames else None


def of(frame: pl.DataFrame) -> Outcome | None:
    """The outcome of the cells in ``frame``, as ``read`` gives them; None where no prompt has a true value."""
    frame = frame.drop_nulls("value")
    if frame.is_empty():
        return None
    compared = frame.drop_nulls("base_value")
    if compared.is_empty():
        return Outcome(coverage(frame))
    gain = pl.col("value") - pl.col("base_value")
    score = (gain.sign() / 2 + 0.5).alias("score")
    found = pigeonhole(crossed(compared.select("seed", "prompt_id", ONE, gain.alias("gain"), score)))
    by_prompt = compared.group_by("prompt_id", maintain_order=True).agg(score.mean())["score"].to_numpy()
    wins, losses = int((by_prompt > 0.5).sum()), int((by_prompt < 0.5).sum())
    versus = Versus(
        difference=found.ratio("gain", "n"),
        win_rate=found.ratio("score", "n"),
        length_controlled=length_controlled(compared.with_columns(score)),
        prompts=len(by_prompt),
        wins=wins,
        losses=losses,
        p_value=winrate.sign_test(wins, losses),
        prompts_needed=winrate.prompts_needed(by_prompt),
    )
    return Outcome(coverage(frame), versus)


def coverage(frame: pl.DataFrame) -> Estimate:
    """The mean ``value`` of rows (seed, prompt_id, value)."""
    return pigeonhole(crossed(frame.select("seed", "prompt_id", ONE, "value"))).ratio("value", "n")


def length_controlled(compared: pl.DataFrame, seed: int = 0) -> Estimate | None:
    """The win rate at equal lengths, its resamples over seeds and prompts. None where it cannot be fitted.

    ``compared``: seed, prompt_id, score, text, base_text.
    """
    readable = compared.filter(pl.col("text").is_not_null() & pl.col("base_text").is_not_null())
    if readable.is_empty():
        return None
    scores = readable["score"].to_numpy()
    lengths = [readable[name].str.len_chars().to_numpy().astype(np.float64) for name in ("text", "base_text")]
    value = winrate.length_controlled(scores, *lengths)
    if value is None:
        return None
    by_seed, by_prompt = (
        readable[name].rank("dense").to_numpy().astype(np.int64) - 1 for name in ("seed", "prompt_id")
    )
    generator = np.random.default_rng([seed, 3])
    draws = np.full(LENGTH_RESAMPLES, np.nan)
    for index in range(LENGTH_RESAMPLES):
        times = _drawn(generator, by_seed) * _drawn(generator, by_prompt)
        rows = np.repeat(np.arange(len(scores)), times)
        found = winrate.length_controlled(scores[rows], *(length[rows] for length in lengths)) if len(rows) else None
        draws[index] = np.nan if found is None else found
    return Estimate(value, draws)


def _drawn(generator: np.random.Generator, groups: Rows) -> Rows:
    """How often each row's group was drawn."""
    size = int(groups.max()) + 1
    counts = np.bincount(generator.integers(0, size, size), minlength=size)
    times: Rows = counts[groups]
    return times
