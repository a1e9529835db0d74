"""What is generated and judged in the loop, kept: RUN/completions.parquet and RUN/feedback.parquet, with the step.

Rows are written out just before each checkpoint. A run that was killed goes on from a checkpoint and forgets the rows
of later steps, which it makes anew: so no row is lost and none is there twice.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from builder import tables

FOLDER = "loop"
TABLES = ("completions", "feedback")


class Record:
    """Rows since the last checkpoint in memory, those from before in ``work``.

    ``policy``: the hash of the policy that training starts from; in the tables it is followed by ``+`` and how many
    steps it has learned since. ``ends``: token ids at which generation stops.
    """

    def __init__(self, work: Path, policy: str, ends: Collection[int]) -> None:
        self.folder, self.policy, self.ends = work / FOLDER, policy, set(ends)
        self.held: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLES}

    def add(
        self,
        step: int,
        batch: pl.DataFrame,
        tokens: Sequence[Sequence[int]],
        feedback: pl.DataFrame,
        rewards: Sequence[float | None],
    ) -> None:
        """A batch (completion_id, prompt_id, index, text) that was generated when ``step`` steps were done."""
        lengths = [_length(row, self.ends) for row in tokens]
        known = batch.select("completion_id", "prompt_id", "index", "text").with_columns(
            pl.Series("finish_reason", ["length" if length is None else "stop" for length in lengths]),
            pl.Series(
                "tokens", [len(row) if n is None else n for n, row in zip(lengths, tokens, strict=True)], pl.Int32
            ),
            pl.lit(f"{self.policy}+{step}").alias("policy"),
            pl.lit(step + 1, pl.Int32).alias("step"),
            pl.Series("reward", rewards, pl.Float64),
        )
        self.held["completions"].append(known)
        self.held["feedback"].append(feedback.with_columns(pl.lit(step + 1, pl.Int32).alias("step")))

    def keep(self, step: int) -> None:
        """Write out what was added up to ``step``."""
        for name, frames in self.held.items():
            if frames:
                tables.write(self._part(name, step), name, pl.concat(frames), {"stage": "loop"})
                frames.clear()

    def resume(self, step: int) -> Counter[str]:
        """Forget what came after ``step``; gives how many completions each prompt has."""
        for part in self.folder.glob("*.parquet"):
            if int(part.name.split("-")[0]) > step:
                part.unlink()
        return Counter(self._table("completions")["prompt_id"].to_list())

    def write(self, run: Path, about: Mapping[str, Any], inputs: Mapping[str, Path]) -> dict[str, pl.DataFrame]:
        """Write both tables of the run and give them; ``about`` is what their metadata says beside their inputs."""
        inputs, made = dict(inputs), {}
        for name, key in zip(TABLES, (["completion_id"], ["completion_id", "judge", "attempt"]), strict=True):
            made[name] = self._table(name).sort(key)
            facts = tables.metadata(inputs=inputs, **about)
            tables.write(tables.path(run, name), name, made[name], facts)
            inputs[name] = tables.path(run, name)
        return made

    def _part(self, name: str, step: int) -> Path:
        return self.folder / f"{step:09d}-{name}.parquet"

    def _table(self, name: str) -> pl.DataFrame:
        parts = [pl.read_parquet(file) for file in sorted(self.folder.glob(f"*-{name}.parquet"))]
        empty = pl.DataFrame(schema=pl.Schema(tables.SCHEMAS[name]))
        return pl.concat([empty, *parts, *self.held[name]], how="diagonal")


def keeping(record: Record) -> Any:
    """A callback of the trainer that writes rows out just before a checkpoint is saved."""
    from transformers import TrainerCallback

    class Keeping(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, kwargs
            if control.should_save:
                record.keep(state.global_step)

    return Keeping()


def _length(tokens: Sequence[int], ends: Collection[int]) -> int | None:
    """How many tokens come before the end; None: there is no end, the limit of tokens cut it."""
    return next((place for place, token in enumerate(tokens) if token in ends), None)
