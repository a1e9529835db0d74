"""What people read: prompts and completions of a run, and what its judges said of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from builder import judgements, refined, tables
from builder.language.chat import Message
from builder.statuses import WimStatus

SCALE = (1, 10)
"""Of the numbers that people give; judges' numbers are shown and compared on it."""


@dataclass(frozen=True)
class Said:
    """One judge's words on one completion. ``rating`` is mapped to ``SCALE``; ``feedback`` is "" for nothing."""

    judge: str
    feedback: str | None
    rating: float | None


class Texts:
    """The tables of a run, by row."""

    def __init__(self, folder: Path, scale: tuple[float, float]) -> None:
        """``scale``: of numbers that bring none of their own. Raises TableError."""
        file = tables.find(folder, "completions")
        self.completions = tables.read(file, "completions", [*judgements.COMPLETIONS, "policy"])
        self.prompts = tables.read(tables.find(folder, "prompts"), "prompts")
        self.feedback = _feedback(folder, scale)
        self.origins = refined.origins(folder)
        self._completion = _rows(self.completions, "completion_id")
        self._prompt = _rows(self.prompts, "prompt_id")
        counted = self.feedback.with_row_index("row").group_by("completion_id").agg("row")
        self._said: dict[str, list[int]] = dict(counted.iter_rows())

    def has(self, completion_id: str) -> bool:
        """Whether the run holds it."""
        return completion_id in self._completion

    def completion(self, completion_id: str) -> dict[str, Any]:
        """Its row: completion_id, prompt_id, text, policy."""
        return self.completions.row(self._completion[completion_id], named=True)

    def prompt(self, prompt_id: str) -> dict[str, Any]:
        """Its row; without messages where nothing but its id is known."""
        row = self._prompt.get(prompt_id)
        nothing: list[Message] = []
        bare = {"prompt_id": prompt_id, "messages": nothing, "source": "", "reference": None}
        return bare if row is None else self.prompts.row(row, named=True)

    def said(self, completion_id: str) -> list[Said]:
        """What the judges said of it, by name."""
        rows = self.feedback[self._said.get(completion_id, [])].sort("judge")
        return [Said(*row) for row in rows.select("judge", "feedback", "rating").iter_rows()]


def _rows(frame: pl.DataFrame, key: str) -> dict[str, int]:
    return {name: row for row, name in enumerate(frame[key])}


def _feedback(folder: Path, scale: tuple[float, float]) -> pl.DataFrame:
    """completion_id, judge, feedback, rating on ``SCALE``, of judgements that say anything."""
    file = tables.path(folder, "feedback")
    empty = pl.DataFrame(tables.SCHEMAS["feedback"].empty_table())
    said = tables.read(file, "feedback", judgements.FEEDBACK) if file.is_file() else empty
    low, high = pl.col("scale_min").fill_null(scale[0]), pl.col("scale_max").fill_null(scale[1])
    share = (pl.col("rating") - low) / (high - low)
    told = pl.col("wim_status").is_in([str(WimStatus.MISSING), str(WimStatus.NOTHING)])
    return (
        judgements.used(said)
        .select(
            "completion_id",
            "judge",
            pl.when(told).then(pl.col("wim").fill_null("")).alias("feedback"),
            (SCALE[0] + share * (SCALE[1] - SCALE[0])).alias("rating"),
        )
        .filter(pl.col("feedback").is_not_null() | pl.col("rating").is_not_null())
    )
