"""Spans hold each row once, in order, whatever the order and the row groups of the file."""

import itertools
from pathlib import Path

import polars as pl
import pytest

from builder import spans, tables
from builder.errors import TableError

COLUMNS = ("completion_id", "prompt_id", "text")


def completions(names: list[str]) -> pl.DataFrame:
    rows = [
        {"completion_id": name, "prompt_id": name[:3], "index": 0, "text": name, "finish_reason": "stop"}
        for name in names
    ]
    return pl.DataFrame(rows).with_columns(
        policy=pl.lit("p"), tokens=pl.lit(None, pl.Int32), index=pl.col("index").cast(pl.Int16)
    )


def written(path: Path, names: list[str], group: int = 7) -> Path:
    file = path / "completions.parquet"
    completions(names).write_parquet(file, row_group_size=group)
    return file


NAMES = [f"{i // 4:03d}-{i % 4:02d}" for i in range(100)]
MIXED = NAMES[50:] + NAMES[:25][::-1] + NAMES[25:50]


@pytest.mark.parametrize("names", [NAMES, MIXED], ids=["sorted", "mixed"])
@pytest.mark.parametrize("key", ["completion_id", "prompt_id"])
@pytest.mark.parametrize("group", [1, 7, 1000])
def test_each_row_is_in_one_span(tmp_path: Path, names: list[str], key: str, group: int) -> None:
    file = written(tmp_path, names, group)
    read = spans.Reader(file, "completions", COLUMNS, key)
    found = [read(span) for span in spans.plan(file, "completions", key, rows=10)]
    assert sorted(pl.concat(found)["completion_id"]) == NAMES
    assert len(found) > 3
    ids = [sorted(part[key]) for part in found if len(part)]
    assert all(before[-1] < after[0] for before, after in itertools.pairwise(ids))


def test_spans_are_of_about_the_rows_asked_for(tmp_path: Path) -> None:
    file = written(tmp_path, [f"{i:06d}-00" for i in range(5000)], 300)
    read = spans.Reader(file, "completions", COLUMNS, "completion_id")
    sizes = [len(read(span)) for span in spans.plan(file, "completions", "completion_id", rows=640)]
    assert sizes[:-1] == [640] * 7


def test_spans_of_one_table_read_another(tmp_path: Path) -> None:
    """A span that a table has no row of is empty; rows outside all spans are in none but the open ones at the ends."""
    file = written(tmp_path, NAMES)
    read = spans.Reader(file, "completions", COLUMNS, "completion_id")
    assert read(spans.Span(None, "000")).is_empty()
    assert read(spans.Span("003", "004"))["completion_id"].to_list() == NAMES[12:16]
    assert read(spans.Span("010", "010-02"))["completion_id"].to_list() == NAMES[40:42]
    assert read(spans.Span("999", None)).is_empty()


def test_a_table_without_rows_has_one_span(tmp_path: Path) -> None:
    file = tmp_path / "completions.parquet"
    completions(NAMES).clear().write_parquet(file)
    assert spans.plan(file, "completions", "completion_id") == [spans.Span()]
    none = spans.Reader(file, "completions", COLUMNS, "completion_id")(spans.Span())
    assert none.schema == tables.read(file, "completions", COLUMNS).schema


def test_a_missing_column_is_told(tmp_path: Path) -> None:
    file = tmp_path / "completions.parquet"
    completions(NAMES).drop("text").write_parquet(file)
    with pytest.raises(TableError, match="has no column 'text'"):
        spans.Reader(file, "completions", COLUMNS, "completion_id")
