"""Spans hold each row once, in order, whatever the order and the row groups of the file."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from builder import tables
from builder.errors import TableError
from builder.streams import spans

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


@pytest.mark.parametrize("names", [NAMES, MIXED], ids=["sorted", "mixed"])
@pytest.mark.parametrize("group", [1, 7, 1000])
def test_rows_are_looked_up_ids_after_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], group: int
) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP", group)
    look_up = spans.Lookup(written(tmp_path, names, group), "completions", COLUMNS, "completion_id")
    for wanted in (NAMES[:9], NAMES[8:20], [], ["unknown", *NAMES[95:]], NAMES[3:5], ["unknown"], NAMES * 2):
        found = look_up(pl.Series(wanted, dtype=pl.String))
        assert sorted(found["text"]) == sorted({*wanted} - {"unknown"})
        assert found.columns == list(COLUMNS)


def test_ids_that_go_on_with_the_table_are_looked_up_in_one_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, read = written(tmp_path, NAMES), list[int]()
    look_up = spans.Lookup(file, "completions", COLUMNS, "completion_id")
    blocks = [pl.read_parquet(file).select(COLUMNS)[start : start + 7] for start in range(0, 100, 7)]

    def counted(*_: object) -> Iterator[pl.DataFrame]:
        for number, block in enumerate(blocks):
            read.append(number)
            yield block

    monkeypatch.setattr(tables, "batches", counted)
    for start in range(0, 90, 9):
        assert len(look_up(pl.Series([*NAMES[start : start + 10], "unknown"]))) == 10
    assert read == sorted(set(read))


@pytest.mark.parametrize("sizes", [[], [0], [5], [10], [3, 8, 0, 21], [10, 10]])
def test_frames_are_made_even(sizes: list[int]) -> None:
    rows = iter(range(100))
    frames = [pl.DataFrame({"n": list(itertools.islice(rows, size))}, schema={"n": pl.Int64}) for size in sizes]
    found = list(spans.even(frames, 10))
    assert [n for frame in found for n in frame["n"]] == list(range(sum(sizes)))
    assert [len(frame) for frame in found[:-1]] == [10] * (len(found) - 1)
    assert bool(found) == bool(sizes)


@pytest.mark.parametrize("names", [[f"{i:03d}" for i in range(50)], [f"{i * 7 % 50 // 2:03d}" for i in range(50)]])
def test_blocks_hold_each_row_by_its_key(tmp_path: Path, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "ROWS", 16)
    file = written(tmp_path, names)
    blocks = list(spans.blocks(file, "completions", ["completion_id", "text"], "completion_id", 9))
    assert max(map(len, blocks)) <= 9
    rows = pl.concat(blocks)
    assert rows["completion_id"].to_list() == sorted(names)
    assert sorted(rows.iter_rows()) == sorted(pl.read_parquet(file, columns=["completion_id", "text"]).iter_rows())
