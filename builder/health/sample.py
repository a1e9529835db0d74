"""Whole prompts drawn by the hash of their ids: the same ones in every run that holds them, whatever else it holds."""

import zlib

import polars as pl


def of_prompts(prompt_ids: pl.Series, most: int) -> pl.Series:
    """Distinct ids of prompts that have about ``most`` of the rows; all of them where there are no more rows."""
    if len(prompt_ids) <= most:
        return prompt_ids.unique().sort()
    counts = prompt_ids.alias("prompt_id").value_counts(name="rows").sort("prompt_id")
    order = pl.Series([zlib.crc32(name.encode()) for name in counts["prompt_id"]], dtype=pl.UInt32)
    counts = counts.with_columns(order.alias("order")).sort("order", "prompt_id")
    return counts.filter(pl.col("rows").cum_sum() - pl.col("rows") < most)["prompt_id"].sort()


def rows(frame: pl.DataFrame, most: int) -> pl.DataFrame:
    """The rows of ``of_prompts``, in their order."""
    return frame.filter(pl.col("prompt_id").is_in(of_prompts(frame["prompt_id"], most).implode()))
