"""What an arm's last policies do on held-out prompts: coverage, and wins against the base model by the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis import winrate
from analysis.experiment import Cell
from analysis.intervals import Estimate, Numbers, pigeonhole
from analysis.rated import cells as crossed
from builder import tables

COLUMNS = {"value": pl.Float64, "text": pl.String, "base_value": pl.Float64, "base_text": pl.String}
LENGTH_RESAMPLES = 400  # each is a fit of its own


@dataclass(frozen=True, eq=False)
class Outcome:
    """Of one arm. ``win_rate`` counts ties half.

    ``wins``, ``losses``, ``ties`` are by prompt, from the mean over seeds: seeds share prompts and are no
    further evidence in an exact test. ``against_base`` parts are None where the base model's values are absent.
    """

    coverage: Estimate
    difference: Estimate | None
    win_rate: Estimate | None
    length_controlled: Estimate | None
    prompts: int
    wins: int
    losses: int
    ties: int
    p_value: float | None
    prompts_needed: int | None


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


def of(frame: pl.DataFrame) -> Outcome:
    """The outcome of the cells in ``frame``, as ``read`` gives them."""
    one = pl.lit(1.0).alias("n")
    coverage = pigeonhole(crossed(frame.select("seed", "prompt_id", one, "value"))).ratio("value", "n")
    compared = frame.filter(pl.col("base_value").is_not_null())
    if compared.is_empty():
        return Outcome(coverage, None, None, None, 0, 0, 0, 0, None, None)
    gain = pl.col("value") - pl.col("base_value")
    score = (gain.sign() / 2 + 0.5).alias("score")
    found = pigeonhole(crossed(compared.select("seed", "prompt_id", one, gain.alias("gain"), score)))
    by_prompt = compared.group_by("prompt_id", maintain_order=True).agg(score.mean())["score"].to_numpy()
    wins, losses = int((by_prompt > 0.5).sum()), int((by_prompt < 0.5).sum())
    return Outcome(
        coverage,
        found.ratio("gain", "n"),
        found.ratio("score", "n"),
        length_controlled(compared.with_columns(score)),
        len(by_prompt),
        wins,
        losses,
        len(by_prompt) - wins - losses,
        winrate.sign_test(wins, losses),
        winrate.prompts_needed(by_prompt),
    )


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


def _drawn(generator: np.random.Generator, groups: "np.typing.NDArray[np.int64]") -> "np.typing.NDArray[np.int64]":
    """How often each row's group was drawn."""
    size = int(groups.max()) + 1
    counts = np.bincount(generator.integers(0, size, size), minlength=size)
    times: np.typing.NDArray[np.int64] = counts[groups]
    return times


def per_prompt(frame: pl.DataFrame) -> Numbers:
    """Mean coverage over seeds, by prompt."""
    return frame.group_by("prompt_id", maintain_order=True).agg(pl.col("value").mean())["value"].to_numpy()
