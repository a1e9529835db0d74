"""Every judgement of a run with its words, block by block: the ratings, and the completion and feedback behind each."""

from collections.abc import Iterator, Sequence

import polars as pl
import pyarrow as pa

from builder import judgements, refined, rows, tables
from builder.hub.runs import Run
from builder.streams import spans

COMPLETIONS = ("completion_id", "text", "policy")
_WORDS = ("completion", "policy", "refined_from", "feedback", "wim_status")
SCHEMA = pa.schema(
    [
        *tables.SCHEMAS["ratings"],
        *(pa.field(name, pa.string()) for name in _WORDS),
        pa.field("arm", pa.string()),
        pa.field("round", pa.int32()),
    ]
)


def blocks(run: Run) -> Iterator[pl.DataFrame]:
    """The ratings table with the columns completion, policy, refined_from, feedback, wim_status, arm and round."""
    completions = _Following(run, "completions", COMPLETIONS)
    feedback = _Following(run, "feedback", judgements.FEEDBACK)
    origins = refined.read(run.folder).select("completion_id", "refined_from")
    for block in _read(run, "ratings", tables.SCHEMAS["ratings"].names):
        last = block["completion_id"][-1]
        texts = completions.until(last).rename({"text": "completion"})
        said = judgements.used(feedback.until(last)).select("completion_id", "judge", "wim_status", feedback="wim")
        joined = block.join(texts, on="completion_id", how="left", maintain_order="left")
        joined = joined.join(origins, on="completion_id", how="left", maintain_order="left")
        joined = joined.join(said, on=["completion_id", "judge"], how="left", maintain_order="left")
        arm, index = pl.lit(run.arm).alias("arm"), pl.lit(run.round, pl.Int32).alias("round")
        yield joined.with_columns(arm, index).select(SCHEMA.names)


def _read(run: Run, name: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    return spans.blocks(tables.find(run.folder, name), name, list(columns), "completion_id", rows.BLOCK)


class _Following:
    """A table sorted by completion_id that is read as far as another one in that order has got."""

    def __init__(self, run: Run, name: str, columns: Sequence[str]) -> None:
        self.blocks = _read(run, name, columns)
        self.held = pl.DataFrame(schema=pl.Schema(tables.SCHEMAS[name])).select(columns)

    def until(self, last: str) -> pl.DataFrame:
        """All rows that may belong to ids up to ``last`` and were not passed before."""
        while self.held.is_empty() or self.held["completion_id"][-1] <= last:
            block = next(self.blocks, None)
            if block is None:
                break
            self.held = pl.concat([self.held, block])
        found = self.held.filter(pl.col("completion_id") <= last)
        self.held = self.held.filter(pl.col("completion_id") >= last)
        return found
