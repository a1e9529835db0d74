"""The draw of ``sample.of_prompts`` from ids that come block by block, in memory for the prompts drawn."""

import zlib

import polars as pl

from builder import tables


class Draw:
    """Draws whole prompts that have about ``most`` of the rows, whatever blocks they come in."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.drawn = self._counted(pl.Series([], dtype=pl.String))

    def add(self, prompt_ids: pl.Series) -> None:
        """The prompts of further rows."""
        counts = pl.concat([self.drawn, self._counted(prompt_ids)])
        counts = counts.group_by("prompt_id", "order").agg(pl.col("rows").sum()).sort("order", "prompt_id")
        # What comes after so many rows does so for good: more rows can only come before it.
        counts = counts.filter(pl.col("rows").cum_sum() - pl.col("rows") < self.most)
        self.drawn = tables.detached(counts.select(self.drawn.columns))

    def prompts(self) -> pl.Series:
        """The distinct ids drawn, sorted."""
        return self.drawn["prompt_id"].sort()

    def _counted(self, prompt_ids: pl.Series) -> pl.DataFrame:
        counts = prompt_ids.alias("prompt_id").value_counts(name="rows").cast({"rows": pl.Int64})
        order = list(map(zlib.crc32, counts["prompt_id"].cast(pl.Binary).to_list()))
        return counts.with_columns(order=pl.Series(order, dtype=pl.UInt32))
