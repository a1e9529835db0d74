"""Where a completion comes from that was written again: columns of completions.parquet beyond its schema."""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from builder import tables

FIELDS = tuple(pa.field(name, pa.string()) for name in ("refined_from", "refined_judge", "refined_feedback"))
"""The completion that was written again, the judge whose text was taken up, and that text; null for all others."""
COLUMNS = tuple(field.name for field in FIELDS)


def read(folder: Path) -> pl.DataFrame:
    """completion_id and COLUMNS of the completions of a run that were written again; none of any other run."""
    file = tables.path(folder, "completions")
    if not file.is_file() or not set(COLUMNS) <= set(tables.open_parquet(file).schema_arrow.names):
        return pl.DataFrame(schema=dict.fromkeys(("completion_id", *COLUMNS), pl.String))
    blocks = tables.batches(file, "completions", ["completion_id", *COLUMNS])
    return pl.concat([tables.detached(block.drop_nulls("refined_from")) for block in blocks])


def origins(folder: Path) -> dict[str, dict[str, Any]]:
    """``read`` by completion_id."""
    return {row["completion_id"]: row for row in read(folder).iter_rows(named=True)}
