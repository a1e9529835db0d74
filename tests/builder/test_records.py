"""Somebody's files: every kind, and every way in which they are broken."""

import csv
import decimal
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder import records
from builder.errors import InputError, WimError
from builder.records import Bad, FieldError, Record, Rejected

ROWS: list[dict[str, Any]] = [
    {"prompt": "p", "completion": "a\nb", "rating": 7, "n": "1"},
    {"prompt": "é", "completion": 'q"x"', "rating": 3, "n": "2"},
]


def fields(file: Path) -> list[dict[str, Any]]:
    found = list(records.read(file))
    assert all(isinstance(item, Record) for item in found), found
    return [dict(item.fields) for item in found if isinstance(item, Record)]


def faults(file: Path) -> list[tuple[int, str]]:
    return [(item.line, item.reason) for item in records.read(file) if isinstance(item, Bad)]


def as_csv(file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.JSONL", "x.json", "x.json.gz", "x.csv", "x.parquet"])
def test_every_kind_of_file_gives_the_same_records(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    if name == "x.csv":
        as_csv(file)
    elif name == "x.parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), file)
    else:
        lines = "".join(json.dumps(row) + "\n" for row in ROWS)
        content = (json.dumps(ROWS) if ".json." in name + "." else lines).encode()
        file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert fields(file) == ROWS


def test_a_single_json_object_is_one_record(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"prompt": "p"}')
    assert fields(tmp_path / "x.json") == [{"prompt": "p"}]


@pytest.mark.parametrize("content", [b"", b"\n\n \r\n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv"])
def test_a_file_without_records_gives_none(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert list(records.read(tmp_path / name)) == []


def test_a_byte_order_mark_and_carriage_returns_are_not_part_of_a_record(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'\xef\xbb\xbf{"a": "b"}\r\n\r\n{"a": "c"}\r\n')
    assert [(r.line, dict(r.fields)) for r in records.read(tmp_path / "x.jsonl") if isinstance(r, Record)] == [
        (1, {"a": "b"}),
        (3, {"a": "c"}),
    ]
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\r\n")
    assert fields(tmp_path / "x.csv") == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": 1', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1} {"a": 2}', "not JSON: Extra data"),
        (b'{"a": "\xff"}', "not UTF-8: byte 0xff at 7"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (b'\xff\xfe{\x00"\x00', "not UTF-8"),
        (b'{"a": "\x00"}', "not JSON"),
        (b"[1, 2]", "not a JSON object but a list"),
        (b"1", "not a JSON object but a number"),
        (b"null", "not a JSON object but null"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_line_is_bad_and_the_others_are_read(line: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
    found = list(records.read(tmp_path / "x.jsonl"))
    assert [isinstance(item, Bad) for item in found] == [False, True, False]
    assert [item.line for item in found] == [1, 2, 3]
    assert isinstance(found[1], Bad)
    assert reason in found[1].reason
    assert found[1].raw


NUMBERS = st.integers(-(2**66), 2**66) | st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def same(one: Any, other: Any) -> bool:
    """Also in the types: 7 is not 7.0, and NaN is itself."""
    return repr(one) == repr(other)


@settings(max_examples=300, deadline=None)
@given(record=st.dictionaries(st.text(max_size=3), VALUES, max_size=4), ascii_only=st.booleans())
def test_a_line_is_read_as_pythons_decoder_reads_it(
    record: dict[str, Any], ascii_only: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("line") / "x.jsonl"
    line = json.dumps(record, ensure_ascii=ascii_only)
    file.write_text(line + "\n", encoding="utf-8")
    (found,) = fields(file)
    assert same(found, json.loads(line))


@pytest.mark.parametrize(
    "line",
    [
        '{"a": 1, "b": 2, "a": 3}',
        '{"a": "\\ud800"}',
        '{"a": NaN, "b": -Infinity, "c": 1e999}',
        '{"a": -0, "b": -0.0, "c": 1E5, "d": 9007199254740993}',
        '{"a": [18446744073709551616], "b": {"c": [-9223372036854775809]}}',
        '{"a": ' + "[" * 40 + "18446744073709551616" + "]" * 40 + "}",
        '{"a": ' + "[" * 200 + "]" * 200 + "}",
    ],
)
def test_what_decoders_read_in_different_ways_is_read_as_python_does(line: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(line + "\n")
    assert same(fields(tmp_path / "x.jsonl")[0], json.loads(line))


@pytest.mark.parametrize("digits", [401, 5000])
def test_a_number_of_any_length_is_read(digits: int, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"rating": ' + "1" * digits + "}\n")
    assert fields(tmp_path / "x.jsonl")[0]["rating"] > 1e300
    (tmp_path / "x.csv").write_text("rating\n" + "1" * digits + "\n")
    assert fields(tmp_path / "x.csv")[0]["rating"] > 1e300


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.parquet"])
def test_ten_megabytes_in_one_field_are_read(name: str, tmp_path: Path) -> None:
    text = "x" * 10_000_000
    file = tmp_path / name
    if name == "x.parquet":
        pq.write_table(pa.table({"completion": [text]}), file)
    else:
        file.write_text(json.dumps({"completion": text}) if name == "x.jsonl" else f"completion\n{text}\n")
    assert fields(file) == [{"completion": text}]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.json", b'[{"a": 1}, {"a"', "not JSON"),
        ("x.json", b"\xff", "not UTF-8"),
        ("x.json", b"[" * 100_000, "nested too deeply"),
        ("x.jsonl.gz", b"no gzip at all", "cannot be read"),
        ("x.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000, mtime=0)[:-20], "cannot be read"),
        ("x.json.gz", gzip.compress(b'{"a": 1}', mtime=0)[:-9] + b"123456789", "cannot be read"),
        ("x.csv", b'a,b\n1,"2\n3,4\n', "the row that starts in line 2: not CSV"),
        ("x.csv", b'a,b\n1,2\n3,"4"5\n', "the row that starts in line 3: not CSV"),
        ("x.csv", b"a,a\n1,2\n", "the column 'a' stands there twice"),
        ("x.parquet", b"", "not a complete Parquet file"),
        ("x.parquet", b"PAR1 and nothing else", "not a complete Parquet file"),
        ("x.parquet.gz", b"", "unknown kind"),
        ("x.txt", b"{}", "unknown kind"),
        ("x", b"{}", "unknown kind"),
    ],
)
def test_a_file_that_cannot_be_read_whole_is_an_error_that_names_it(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WimError, match=said) as error:
        list(records.read(tmp_path / name))
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_told_apart_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        records.read(tmp_path / "none.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        records.read(tmp_path / "folder.jsonl")


def test_a_parquet_file_that_was_cut_off_or_changed_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [str(i) * 50 for i in range(5000)]}), file, write_page_checksum=True)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(WimError, match=r"x\.parquet: not a complete"):
        list(records.read(file))
    file.write_bytes(content[:300] + bytes([content[300] ^ 4]) + content[301:])
    with pytest.raises(WimError, match=r"x\.parquet"):
        list(records.read(file))


def test_csv_lines_are_counted_where_the_row_begins(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('a,b\n"1\n1\n1",2\n\nragged\n3,4,5\n"\n",6\n')
    found = list(records.read(tmp_path / "x.csv"))
    assert [(item.line, isinstance(item, Bad)) for item in found] == [(2, False), (6, True), (7, True), (8, False)]
    assert faults(tmp_path / "x.csv")[0] == (6, "1 cells where the header has 2")


def test_an_empty_csv_cell_is_absent_and_numbers_are_numbers_only_where_they_are_due(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("prompt,rating,n,sample\n7,7.5,7,1\n,1_0,x,\nnul\0,NaN,,ten\n")
    one, two, three = fields(tmp_path / "x.csv")
    assert one == {"prompt": "7", "rating": 7.5, "n": "7", "sample": 1}
    assert two == {"prompt": None, "rating": "1_0", "n": "x", "sample": None}
    assert three["rating"] != three["rating"]
    assert (three["prompt"], three["sample"]) == ("nul\0", "ten")


def test_a_csv_row_that_is_not_utf8_is_bad(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a\nok\n\xff\xfe\nok\n")
    assert faults(tmp_path / "x.csv") == [(3, "not UTF-8")]


def test_parquet_columns_of_any_type_become_plain_values(tmp_path: Path) -> None:
    messages = [[{"role": "user", "content": "hi"}]]
    table = pa.table(
        {
            "prompt": messages,
            "rating": pa.array([decimal.Decimal("7.5")]),
            "judge": pa.array(["a"]).dictionary_encode(),
            "completion": pa.array(["c"], pa.large_string()),
            "deep": [{"a": {"b": [1, None]}}],
            "when": pa.array([0], pa.timestamp("ns")),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    (row,) = fields(tmp_path / "x.parquet")
    assert (row["prompt"], row["rating"], row["judge"], row["completion"]) == (messages[0], 7.5, "a", "c")
    assert row["deep"] == {"a": {"b": [1, None]}}


def test_a_parquet_row_without_a_value_in_python_is_bad_and_the_others_are_read(tmp_path: Path) -> None:
    offsets = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1]
    broken = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"a\xffb")])
    pq.write_table(pa.table({"n": [1, 2, 3], "completion": broken}), tmp_path / "x.parquet")
    one, two, three = records.read(tmp_path / "x.parquet")
    assert isinstance(one, Record)
    assert isinstance(three, Record)
    assert isinstance(two, Bad)
    assert (two.line, two.field, two.reason) == (2, "completion", "not UTF-8")
    pq.write_table(pa.table({"d": pa.array([10**9], pa.date32())}), tmp_path / "y.parquet")
    assert [isinstance(item, Bad) for item in records.read(tmp_path / "y.parquet")] == [True]


def test_a_parquet_column_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["x", "x"]), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="'x' twice"):
        list(records.read(tmp_path / "x.parquet"))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (7, "a number"),
        (True, "true or false"),
        ([], "a list"),
        ({}, "an object"),
        ("\ud800", "lone surrogate at character 0"),
    ],
)
def test_what_is_no_text_is_said(value: Any, reason: str) -> None:
    with pytest.raises(FieldError, match=reason):
        records.text({"feedback": value}, "feedback")
    assert records.text({}, "feedback") is None
    assert records.text({"feedback": None}, "feedback") is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ([], "is empty"),
        ([{"role": "user", "content": " "}], "is empty"),
        (7, "a text or a list"),
        ({"role": "user", "content": "x"}, "a text or a list"),
        (["x"], "role, content"),
        ([{"from": "human", "value": "x"}], "role, content"),
        ([{"role": "user", "content": None}], "role, content"),
        ([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], "end with a user's turn"),
        ("\udfff", "lone surrogate"),
        ([{"role": "\udfff", "content": "x"}], "lone surrogate"),
    ],
)
def test_what_is_no_conversation_is_said(value: Any, reason: str) -> None:
    with pytest.raises(FieldError, match=reason):
        records.messages({"prompt": value}, "prompt")


def test_a_conversation_is_a_text_or_a_list_and_keeps_role_and_content_only() -> None:
    turn = {"role": "user", "content": "hi"}
    assert records.messages({"prompt": "hi"}, "prompt") == [turn]
    assert records.messages({"prompt": [turn | {"name": "x"}]}, "prompt") == [turn]
    assert records.messages({"prompt": None}, "prompt") is None


def test_renaming_keeps_everything_else() -> None:
    row = {"response": "a", "completion": "old", "x": 1}
    assert records.rename(row, {"completion": "response"}) == {"completion": "a", "x": 1}
    assert records.rename({"completion": "ours"}, {"completion": "response"}) == {"completion": "ours"}
    assert records.rename({"a": 1, "b": 2}, {"a": "b", "b": "a"}) == {"a": 2, "b": 1}
    assert records.rename({"t": 1}, {"feedback": "t", "completion": "t"}) == {"feedback": 1, "completion": 1}


def test_json_text_is_always_ascii_json() -> None:
    assert json.loads(records.json_text("x", {"b": float("nan"), "a": [float("inf")]})) == {"b": "nan", "a": ["inf"]}
    assert records.json_text("x", "\ud800é").isascii()
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(FieldError, match="nested too deeply"):
        records.json_text("x", deep)


def test_rejected_records_are_told_and_kept_as_ascii_json_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rejected = Rejected()
    for i in range(15):
        rejected.add(Bad(tmp_path / "é.jsonl", i, "f", "why", "raw \ud800 é\n"))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == records.SHOWN + 1
    assert said[0] == f"rejected: {tmp_path / 'é.jsonl'}, line 0, field 'f': why"
    rejected.write(tmp_path / "rejected.jsonl")
    content = (tmp_path / "rejected.jsonl").read_bytes()
    assert content.isascii()
    lines = [json.loads(line) for line in content.decode().splitlines()]
    assert [line["line"] for line in lines] == list(range(15))
    assert set(lines[0]) == {"file", "line", "field", "reason", "record"}
    Rejected().write(tmp_path / "rejected.jsonl")
    assert not (tmp_path / "rejected.jsonl").exists()


def test_strict_stops_at_the_first_bad_record() -> None:
    with pytest.raises(InputError, match=r"x\.jsonl, line 3: why \(--strict"):
        Rejected(strict=True).add(Bad(Path("x.jsonl"), 3, None, "why", ""))


@settings(max_examples=200, deadline=None)
@given(
    content=st.binary(max_size=200)
    | st.text(st.sampled_from('{}[]":,\n\r\ufeff\x00a1 eN'), max_size=60).map(str.encode),
    name=st.sampled_from(["x.jsonl", "x.json", "x.csv", "x.parquet", "x.jsonl.gz"]),
)
def test_any_bytes_give_records_bad_records_or_one_clear_error(
    content: bytes, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("any") / name
    file.write_bytes(content)
    try:
        found = list(records.read(file))
    except WimError as error:
        assert name in str(error)  # noqa: PT017
        return
    if name == "x.jsonl":
        assert len(found) == sum(bool(line.removeprefix(b"\xef\xbb\xbf").strip()) for line in content.split(b"\n"))
