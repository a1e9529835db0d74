"""Tables: schemas, what others write, damage, and writing all or nothing."""

import json
import os
import random
import resource
import signal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builder import tables
from builder.errors import TableError
from builder.tables import SCHEMAS, reading

ABOUT = {"stage": "test"}
MESSAGES = [{"role": "user", "content": "hi"}]
PROMPT = {"prompt_id": "x", "messages": MESSAGES, "source": "s", "reference": None}


def prompts(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=pl.DataFrame(SCHEMAS["prompts"].empty_table()).schema)


def written(folder: Path, table: pa.Table) -> Path:
    file = folder / "foreign.parquet"
    pq.write_table(table, file)
    return file


CONTRACT = {
    "prompts": "prompt_id:string messages:list<struct<role,content>> source:string reference:string?",
    "completions": "completion_id:string prompt_id:string index:int16 text:string finish_reason:string tokens:int32? "
    "policy:string",
    "feedback": "completion_id:string judge:string attempt:int16 raw:string? rating:double? rating_status:string "
    "wim:string? wim_status:string reason:string? scale_min:double? scale_max:double?",
    "ratings": "completion_id:string prompt_id:string judge:string rating:double? R:double? wim:double? wim_10:double? "
    "missingness:double? length:int32 reward:double? ratable:bool reason:string?",
    "evaluation": "prompt_id:string completion_id:string value:double?",
    "training": "step:int32 name:string value:double",
}


@pytest.mark.parametrize("name", CONTRACT)
def test_the_schemas_are_those_of_the_contract(name: str) -> None:
    kinds = {str(tables.MESSAGES): "list<struct<role,content>>"}
    found = [f"{f.name}:{kinds.get(str(f.type), f.type)}{'?' * f.nullable}" for f in SCHEMAS[name]]
    assert found == CONTRACT[name].split()


def test_pairs_and_embeddings_are_those_of_the_contract() -> None:
    pairs = SCHEMAS["pairs"]
    assert all(pairs.field(name).type == tables.MESSAGES for name in ("prompt", "chosen", "rejected"))
    nullable = {f"{side}_{what}" for side in ("chosen", "rejected") for what in ("rating", "wim", "feedback")}
    assert {f.name for f in pairs if f.nullable} == nullable
    assert (pairs.field("round").type, pairs.field("delta").type) == (pa.int32(), pa.float64())
    assert pairs.names[0] == "pair_id"
    assert pairs.names[-1] == "arm"
    embeddings = tables.embeddings_schema(384)
    assert [str(f.type) for f in embeddings] == ["string", "fixed_size_list<item: float>[384]", "int32", "bool"]
    assert not any(f.nullable for f in embeddings)


def test_what_is_written_is_read_and_has_the_schema_compression_and_metadata(tmp_path: Path) -> None:
    file = tmp_path / "new" / "prompts.parquet"
    tables.write(file, "prompts", prompts(PROMPT), ABOUT)
    assert tables.read(file, "prompts").to_dicts() == [PROMPT]
    parquet = pq.ParquetFile(file)
    assert parquet.schema_arrow.remove_metadata().equals(SCHEMAS["prompts"])
    assert parquet.metadata.row_group(0).column(0).compression == "ZSTD"
    assert json.loads(parquet.schema_arrow.metadata[b"wim"]) == ABOUT
    assert os.listdir(file.parent) == ["prompts.parquet"]


def test_further_columns_are_kept_and_read_when_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "p.parquet"
    tables.write(file, "prompts", prompts(PROMPT).with_columns(n=pl.lit(3), t=pl.lit("x")), ABOUT)
    assert tables.read(file, "prompts").columns == SCHEMAS["prompts"].names
    assert tables.read(file, "prompts", ["t", "n"]).rows() == [("x", 3)]
    with pytest.raises(TableError, match="no column 'm'"):
        tables.read(file, "prompts", ["m"])


def test_the_same_rows_give_the_same_bytes_and_metadata_names_no_place(tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    tables.write(source, "prompts", prompts(PROMPT), ABOUT)
    about = tables.metadata("test", {"zeta": 1.0}, {"prompts": source}, model="m")
    for name in ("a.parquet", "b.parquet"):
        tables.write(tmp_path / name, "prompts", prompts(PROMPT), about)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert set(about) == {"stage", "params", "inputs", "versions", "created_by", "model"}
    said = json.dumps(about)
    assert not any(word in said for word in (str(tmp_path), os.uname().nodename, str(Path.home())))


def test_a_table_by_others_is_read_whatever_its_types_of_text_and_list(tmp_path: Path) -> None:
    turn = pa.struct([("content", pa.large_string()), ("role", pa.dictionary(pa.int32(), pa.string()))])
    table = pa.table(
        {
            "source": pa.array(["s"]).dictionary_encode(),
            "messages": pa.array([MESSAGES], pa.large_list(pa.field("element", turn))),
            "prompt_id": pa.array(["x"], pa.large_string()),
            "more": [1],
        }
    )
    assert tables.read(written(tmp_path, table), "prompts").to_dicts() == [PROMPT]


def test_numbers_of_other_widths_and_null_columns_are_read(tmp_path: Path) -> None:
    row = {"completion_id": ["x-00"], "prompt_id": ["x"], "index": pa.array([3], pa.int64()), "text": ["t"]}
    rest = {"finish_reason": ["stop"], "policy": ["p"], "tokens": pa.nulls(1)}
    frame = tables.read(written(tmp_path, pa.table(row | rest)), "completions")
    assert frame.schema == pl.DataFrame(SCHEMAS["completions"].empty_table()).schema
    assert frame["index"].to_list() == [3]
    ratings = {"rating": pa.array([7], pa.int8())}
    feedback = {
        "completion_id": ["x"],
        "judge": ["j"],
        "attempt": [0],
        "rating_status": ["ok"],
        "wim_status": ["absent"],
    }
    frame = tables.read(written(tmp_path, pa.table(feedback | ratings)), "feedback")
    assert (frame["rating"].to_list(), frame["scale_min"].to_list()) == ([7.0], [None])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt_id": None}, "has no column 'prompt_id'"),
        ({"source": pa.array([None], pa.string())}, "column 'source' holds 1 nulls"),
        ({"messages": pa.array(["hi"])}, "column 'messages' is string"),
        ({"prompt_id": pa.array([[1]])}, "column 'prompt_id' is list"),
        ({"source": pa.array([b"\xff"])}, "column 'source' is binary"),
    ],
)
def test_a_column_that_does_not_fit_is_an_error_that_names_it(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    columns = {"prompt_id": pa.array(["x"]), "messages": pa.array([MESSAGES]), "source": pa.array(["s"])} | change
    file = written(tmp_path, pa.table({name: column for name, column in columns.items() if column is not None}))
    with pytest.raises(TableError, match=r"foreign\.parquet: ") as error:
        tables.read(file, "prompts")
    assert said in str(error.value)


def test_a_number_out_of_range_and_text_that_is_not_utf8_are_errors(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"column 'step' is int64, not int32: .*2147483648"):
        tables.read(written(tmp_path, pa.table({"step": [2**31], "name": ["n"], "value": [1.0]})), "training")
    offsets = pa.array([0, 1], pa.int32()).buffers()[1]
    broken = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(b"\xff")])
    with pytest.raises(TableError, match=r"column 'name' .*UTF"):
        tables.read(written(tmp_path, pa.table({"step": [1], "name": broken, "value": [1.0]})), "training")


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "prompts.parquet"
    tables.write(file, "prompts", prompts(*[PROMPT | {"prompt_id": str(i) * 40} for i in range(999)]), ABOUT)
    content = file.read_bytes()
    for damage in (b"", b"PAR1", content[: len(content) // 2], content[:-1]):
        file.write_bytes(damage)
        with pytest.raises(TableError, match=r"prompts\.parquet: not a complete Parquet file"):
            tables.read(file, "prompts")
    file.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    with pytest.raises(TableError, match=r"prompts\.parquet: damaged"):
        tables.read(file, "prompts")
    file.unlink()
    with pytest.raises(TableError, match=r"prompts\.parquet: does not exist"):
        tables.read(file, "prompts")


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "prompts.parquet"
    tables.write(file, "prompts", prompts(PROMPT), ABOUT)
    before = file.read_bytes()

    def fail() -> None:
        with tables.writer(file, SCHEMAS["prompts"], ABOUT) as out:
            out.write_table(prompts(PROMPT).to_arrow().cast(SCHEMAS["prompts"]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(Exception, match="source"):
        tables.write(file, "prompts", prompts(PROMPT | {"source": None}), ABOUT)
    assert file.read_bytes() == before
    assert os.listdir(tmp_path) == ["prompts.parquet"]


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    rows = prompts(*[PROMPT | {"prompt_id": os.urandom(500).hex()} for _ in range(50)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(TableError, match=r"prompts\.parquet: cannot be written: .*too large"):
            tables.write(tmp_path / "prompts.parquet", "prompts", rows, ABOUT)
        with pytest.raises(TableError, match=r"x\.json: cannot be written: .*too large"):
            tables.write_json(tmp_path / "x.json", "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TableError, match="cannot be written"):
        tables.write(tmp_path / "file" / "run" / "prompts.parquet", "prompts", prompts(PROMPT), ABOUT)


def test_prompts_and_only_they_are_looked_for_in_the_parents(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "wim" / "0"
    tables.write(tmp_path / "runs" / "prompts.parquet", "prompts", prompts(PROMPT), ABOUT)
    (tmp_path / "runs" / "completions.parquet").write_bytes(b"")
    assert tables.find(run, "prompts") == tmp_path / "runs" / "prompts.parquet"
    with pytest.raises(TableError, match=r"run `wim complete .*` first"):
        tables.find(run, "completions")
    with pytest.raises(TableError, match=r"run `wim prompts .*` first"):
        tables.find(run, "heldout")
    tables.write(run / "prompts.parquet", "prompts", prompts(PROMPT), ABOUT)
    assert tables.find(run, "prompts") == run / "prompts.parquet"


def test_json_files_are_written_whole_and_read_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "new" / "x.json"
    tables.write_json(file, {"é": 1})
    assert file.read_text(encoding="utf-8") == '{\n  "é": 1\n}\n'
    assert tables.read_json(file) == {"é": 1}
    with pytest.raises(ValueError, match="JSON"):
        tables.write_json(file, float("nan"))
    assert tables.read_json(file) == {"é": 1}
    file.write_bytes(b"\xff")
    for path in (file, tmp_path / "none.json", tmp_path):
        with pytest.raises(TableError, match=path.name):
            tables.read_json(path)


def test_a_damaged_page_is_told_also_where_a_large_row_group_is_read_by_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LARGE", 0)
    file = tmp_path / "prompts.parquet"
    tables.write(file, "prompts", prompts(*[PROMPT | {"prompt_id": f"{i:032x}"} for i in range(500)]), {})
    content = bytearray(file.read_bytes())
    page = pq.ParquetFile(file).metadata.row_group(0).column(0)
    content[page.dictionary_page_offset + page.total_compressed_size // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(TableError, match=r"prompts.parquet: damaged"):
        list(tables.batches(file, "prompts", ["prompt_id"]))


def test_what_has_been_read_is_not_held(tmp_path: Path) -> None:
    file, groups, rows = tmp_path / "evaluation.parquet", 40, 4096
    draw = random.Random(1)
    frame = pl.DataFrame({"value": [draw.random() for _ in range(groups * rows)]})
    frame = frame.with_columns(prompt_id=pl.lit("p"), completion_id=pl.lit("c"))
    frame.select(tables.SCHEMAS["evaluation"].names).write_parquet(file, row_group_size=rows)
    before = pa.total_allocated_bytes()
    held = []
    for block in tables.batches(file, "evaluation", ["value"], rows):
        assert len(block) == rows
        held.append(pa.total_allocated_bytes() - before)
    assert len(held) == groups
    assert max(held) < 10 * rows * 8
