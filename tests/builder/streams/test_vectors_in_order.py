"""Vectors read as they are passed are those of the table, whatever its order, its row groups and what comes again."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builder import tables
from builder.errors import TableError
from builder.ids import text_id
from builder.streams import vectors, vectors_in_order

Blocks = list[list[pl.Series]]
DIMENSIONS = 5


def table_of(folder: Path, names: Sequence[str], group: int = 40) -> Path:
    """embeddings.parquet, in whose vectors all numbers are the text's own."""
    column = pa.array(np.repeat([number(name) for name in names], DIMENSIONS).astype(np.float32))
    column = pa.FixedSizeListArray.from_arrays(column, DIMENSIONS)
    table = pa.table({"text_id": [text_id(name) for name in names], "embedding": column})
    schema = pa.schema([tables.embeddings_schema(DIMENSIONS).field(name) for name in table.column_names])
    with tables.writer(folder / "embeddings.parquet", schema, {}) as out:
        out.write_table(table.cast(schema), row_group_size=group)
    return folder / "embeddings.parquet"


def number(name: str) -> float:
    return float(int(text_id(name)[:5], 16))


def blocks_of(columns: Sequence[Sequence[str | None]], size: int = 10) -> Blocks:
    """Blocks of ``size`` rows, one column next to the other."""
    starts = range(0, len(columns[0]), size)
    return [[pl.Series(column[start : start + size], dtype=pl.String) for column in columns] for start in starts]


def first_use(columns: Sequence[Sequence[str | None]]) -> list[str]:
    return list(dict.fromkeys(name for column in columns for name in column if name is not None))


def check(file: Path, blocks: Blocks) -> None:
    with vectors_in_order.lookups(file, lambda: blocks) as lookups:
        for columns, lookup in zip(blocks, lookups, strict=False):
            for column in columns:
                found = lookup(column)
                expected = np.array([np.nan if name is None else number(name) for name in column], np.float32)
                assert np.array_equal(found, np.repeat(expected[:, None], DIMENSIONS, axis=1), equal_nan=True)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The tables of which all vectors were copied, since none fits into memory."""
    monkeypatch.setattr(vectors, "IN_MEMORY", 0)
    monkeypatch.setattr(vectors, "_BATCH", 7)
    copied = list[Path]()

    class Counted(vectors.Vectors):
        def __init__(self, file: Path, index: vectors.Index | None = None) -> None:
            copied.append(file)
            super().__init__(file, index)

    monkeypatch.setattr(vectors_in_order, "Vectors", Counted)
    return copied


TEXTS: list[str | None] = [f"completion {i}" for i in range(100)]
MISSING: list[str | None] = [None if i % 7 == 3 else f"missing {i}" for i in range(100)]
REPEATED: list[str | None] = [TEXTS[i] if i < 30 else f"missing {i % 60}" for i in range(100)]


@pytest.mark.parametrize("columns", [(TEXTS,), (TEXTS, MISSING), (TEXTS, REPEATED), (TEXTS, MISSING, REPEATED)])
@pytest.mark.parametrize("group", [1, 13, 1000])
def test_a_table_in_the_order_of_first_use_is_not_copied(
    tmp_path: Path, held: list[Path], columns: Sequence[Sequence[str | None]], group: int
) -> None:
    check(table_of(tmp_path, first_use(columns), group), blocks_of(columns))
    assert not held
    assert [file.name for file in tmp_path.iterdir()] == ["embeddings.parquet"]


def test_a_table_in_any_other_order_is_copied(tmp_path: Path, held: list[Path]) -> None:
    names = first_use((TEXTS, MISSING))
    random.Random(1).shuffle(names)
    file = table_of(tmp_path, names)
    check(file, blocks_of((TEXTS, MISSING)))
    assert held == [file]
    assert [file.name for file in tmp_path.iterdir()] == ["embeddings.parquet"]


def test_rows_that_nobody_looks_up_are_passed(tmp_path: Path, held: list[Path]) -> None:
    columns = (TEXTS[20:40] + TEXTS[60:90], MISSING[20:40] + MISSING[60:90])
    check(table_of(tmp_path, first_use((TEXTS, MISSING))), blocks_of(columns))
    assert not held


def test_a_block_may_look_up_nothing(tmp_path: Path, held: list[Path]) -> None:
    columns = (TEXTS, [None] * 100)
    check(table_of(tmp_path, first_use(columns)), blocks_of(columns))
    check(table_of(tmp_path, ["x"]), blocks_of(([None] * 100,)))
    assert not held


def test_only_what_comes_again_in_a_later_block_is_kept(tmp_path: Path, held: list[Path]) -> None:
    del held
    again: list[str | None] = [*TEXTS[:90], "completion 3", "completion 3", *TEXTS[92:]]
    file, blocks = table_of(tmp_path, first_use((again,))), blocks_of((again,))
    plan = vectors_in_order.Plan(vectors.Index(file), blocks)
    assert plan.again.tolist() == [3]


def test_texts_that_were_not_announced_are_found_too(tmp_path: Path, held: list[Path]) -> None:
    file, blocks = table_of(tmp_path, first_use((TEXTS,))), blocks_of((TEXTS,))
    with vectors_in_order.lookups(file, lambda: blocks) as lookups:
        next(lookups)
        assert next(lookups)(pl.Series(["completion 99"]))[0, 0] == number("completion 99")
        assert next(lookups)(blocks[2][0])[0, 0] == number("completion 20")
    assert held == [file]


def test_a_text_without_a_vector_is_told_before_any_is_read(tmp_path: Path, held: list[Path]) -> None:
    file = table_of(tmp_path, first_use((TEXTS,))[:-1])
    told = pytest.raises(TableError, match=r"embeddings.parquet: no vector for 'completion 99': run `wim embed")
    with told, vectors_in_order.lookups(file, lambda: blocks_of((TEXTS,))):
        pass
    assert not held


def test_a_damaged_page_is_told(tmp_path: Path, held: list[Path]) -> None:
    del held
    file = table_of(tmp_path, first_use((TEXTS,)), 1000)
    page = pq.ParquetFile(file).metadata.row_group(0).column(1)
    content = bytearray(file.read_bytes())
    content[page.data_page_offset + page.total_compressed_size // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(TableError, match=r"embeddings.parquet: damaged"):
        check(file, blocks_of((TEXTS,)))


@pytest.mark.parametrize("ids", [["x" * 32], ["0" * 31], [None]])
def test_ids_that_are_none_are_told(tmp_path: Path, ids: list[str | None]) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(3, np.float32)), 3)
    pq.write_table(pa.table({"text_id": pa.array(ids, pa.string()), "embedding": column}), tmp_path / "e.parquet")
    with pytest.raises(TableError, match=r"column 'text_id'.*32 hex digits"):
        vectors.Index(tmp_path / "e.parquet")
