"""Import: every rule of the contract, and the accounting on every input."""

import csv
import gc
import gzip
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder import ids, ingest, tables
from builder.errors import InputError, UsageError, WimError
from builder.imported.collected import MOST
from builder.ingest import Accounting
from builder.params import Params

PARAMS = Params()
TABLES = ("prompts", "completions", "feedback")


class Imported:
    """The three tables of a run folder and what its import counted."""

    def __init__(self, folder: Path, account: Accounting) -> None:
        self.prompts, self.completions, self.feedback = (tables.read(tables.path(folder, n), n) for n in TABLES)
        extra = tables.read(tables.path(folder, "completions"), "completions", ["completion_id", "model", "extra"])
        self.model, self.extra = ({r["completion_id"]: r[c] for r in extra.to_dicts()} for c in ("model", "extra"))
        rejected = folder / "rejected.jsonl"
        self.rejected = [json.loads(line) for line in rejected.read_text().splitlines()] if rejected.exists() else []
        self.account = account
        assert account.records == account.judgements + account.duplicates + account.rejected
        assert account.judgements == len(self.feedback)
        assert account.rejected == len(self.rejected)
        assert account.completions == len(self.completions)
        assert account.prompts == len(self.prompts)
        assert json.loads((folder / "ingest.json").read_text()) == vars(account)

    @property
    def judges(self) -> list[str]:
        return self.feedback["judge"].to_list()

    def column(self, name: str) -> list[Any]:
        return self.feedback[name].to_list()


def take(folder: Path, records: Sequence[Any], **options: Any) -> Imported:
    """Import records; a text stands for its line."""
    file = folder / "records.jsonl"
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    file.write_text("".join(line + "\n" for line in lines))
    return Imported(folder / "run", ingest.run([file], folder / "run", PARAMS, **options))


def row(**fields: Any) -> dict[str, Any]:
    return {"prompt": "p", "completion": "c"} | fields


def rejected(folder: Path, *records: Any) -> list[tuple[int, str | None, str]]:
    """Line, field and reason of the bad ones, beside one that is fine."""
    made = take(folder, [*records, row(completion="fine")])
    assert made.account.rejected == len(records), made.rejected
    return [(r["line"], r["field"], r["reason"]) for r in made.rejected]


# Prompts and their ids


def test_a_prompt_is_a_text_or_messages_and_its_id_the_hash_of_them(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    made = take(
        tmp_path, [row(prompt="hi"), row(prompt=[{"role": "user", "content": "hi"}], judge="b"), row(prompt=turns)]
    )
    hi = ids.prompt_id([{"role": "user", "content": "hi"}])
    assert dict(made.prompts.select("prompt_id", "messages").iter_rows()) == {
        hi: [{"role": "user", "content": "hi"}],
        ids.prompt_id([{"role": t["role"], "content": t["content"]} for t in turns]): turns,
    }
    assert len(made.completions.filter(pl.col("prompt_id") == hi)) == 1


def test_a_prompt_id_of_the_record_wins_and_the_prompt_may_be_null(tmp_path: Path) -> None:
    made = take(tmp_path, [row(prompt_id="x"), row(prompt=None, prompt_id="y"), {"prompt_id": "z", "completion": ""}])
    assert made.prompts["prompt_id"].to_list() == ["x", "y", "z"]
    assert [len(m) for m in made.prompts["messages"].to_list()] == [1, 0, 0]
    assert made.completions["completion_id"].to_list() == ["x-00", "y-00", "z-00"]


@pytest.mark.parametrize("prompts", [("p", None), (None, "p")])
def test_a_record_without_a_prompt_belongs_to_the_only_prompt_of_its_id(prompts: Any, tmp_path: Path) -> None:
    records = [row(prompt=p, prompt_id="x", judge=f"j{i}") for i, p in enumerate(prompts)]
    made = take(tmp_path, [*records, row(prompt=None, prompt_id="x", completion="other")])
    assert made.prompts["messages"].to_list() == [[{"role": "user", "content": "p"}]]
    assert made.completions["text"].to_list() == ["c", "other"]
    assert made.judges == ["j0", "j1", "judge"]


def test_a_duplicate_without_its_prompt_is_still_a_duplicate(tmp_path: Path) -> None:
    made = take(tmp_path, [row(prompt=None, prompt_id="x"), row(prompt_id="x")])
    assert (made.account.judgements, made.account.duplicates) == (1, 1)


def test_prompts_that_share_an_id_are_groups_of_their_own_and_counted(tmp_path: Path) -> None:
    records = [row(prompt=p, prompt_id="x") for p in ("one", "two", None)] + [row(prompt_id="y")]
    made = take(tmp_path, records)
    names = [f"x~{ids.prompt_id([{'role': 'user', 'content': p}])[:8]}" for p in ("one", "two")]
    assert made.prompts["prompt_id"].to_list() == sorted(["x", *names, "y"])
    assert made.account.prompt_conflicts == 1
    assert set(made.completions["prompt_id"]) == {"x", *names, "y"}


def test_an_id_that_is_the_hash_of_its_prompt_is_no_group_of_its_own(tmp_path: Path) -> None:
    name = ids.prompt_id([{"role": "user", "content": "p"}])
    made = take(tmp_path, [row(), row(prompt_id=name, judge="b"), row(prompt=None, prompt_id=name, judge="c")])
    assert (made.account.prompts, made.account.completions, made.account.prompt_conflicts) == (1, 1, 0)


def test_reference_and_source_are_the_prompts(tmp_path: Path) -> None:
    made = take(tmp_path, [row(), row(judge="b", reference="42", source="s"), row(judge="c", reference="43")])
    assert made.prompts.select("reference", "source").rows() == [("42", "s")]
    (extra,) = made.extra.values()
    assert json.loads(extra) == {"reference": {"c": "43"}}


# Completions and their ids


def test_completions_are_numbered_in_their_order_and_sorted(tmp_path: Path) -> None:
    made = take(tmp_path, [row(prompt_id="x", completion=f"c{i}") for i in range(12)])
    assert made.completions["completion_id"].to_list() == [f"x-{i:02d}" for i in range(12)]
    assert made.completions["index"].to_list() == list(range(12))
    assert set(made.completions["finish_reason"]) == {"imported"}


def test_a_completion_id_is_used_as_it_is_even_where_others_are_counted(tmp_path: Path) -> None:
    records = [row(prompt_id="x", completion="a"), row(prompt_id="x", completion="b", completion_id="x-00")]
    made = take(tmp_path, [*records, row(prompt_id="x", completion="b", judge="second")])
    assert dict(made.completions.select("completion_id", "text").iter_rows()) == {"x-00": "b", "x-01": "a"}
    assert made.feedback.select("completion_id", "judge").rows() == [
        ("x-00", "judge"),
        ("x-00", "second"),
        ("x-01", "judge"),
    ]


def test_a_completion_known_by_its_id_keeps_its_prompt_when_others_claim_the_prompts_id(tmp_path: Path) -> None:
    known = row(prompt=None, prompt_id="x", completion_id="a")
    others = [row(prompt=p, prompt_id="x", completion=p) for p in ("one", "two")]
    made = take(tmp_path, [known, known | {"prompt": "three", "judge": "b"}, *others])
    assert (made.account.prompts, made.account.completions, made.account.judgements) == (3, 3, 4)


def test_the_same_text_under_two_ids_is_two_completions(tmp_path: Path) -> None:
    made = take(tmp_path, [row(completion_id="a"), row(completion_id="b")])
    assert made.completions["completion_id"].to_list() == ["a", "b"]


def test_a_completion_id_cannot_stand_for_two_completions(tmp_path: Path) -> None:
    first = row(prompt_id="x", completion_id="a")
    others = [first | {"completion": "other"}, first | {"prompt_id": "y"}, first | {"prompt": "q"}]
    made = take(tmp_path, [first, first | {"judge": "b"}, *others])
    assert [(r["line"], r["field"]) for r in made.rejected] == [(i, "completion_id") for i in (3, 4, 5)]
    assert (made.account.prompts, made.account.completions) == (1, 1)
    assert json.loads(made.rejected[0]["record"]) == others[0]


def test_a_prompt_has_no_more_completions_than_the_table_can_number(tmp_path: Path) -> None:
    made = take(tmp_path, [row(completion=str(i)) for i in range(MOST + 2)])
    assert (made.account.completions, made.account.rejected) == (MOST, 2)
    assert made.rejected[0]["field"] == "completion"
    assert made.completions["index"].max() == 32_767


def test_an_empty_completion_is_accepted(tmp_path: Path) -> None:
    assert take(tmp_path, [row(completion="")]).completions["text"].to_list() == [""]


def test_model_and_unknown_fields_are_kept(tmp_path: Path) -> None:
    made = take(tmp_path, [row(model="m", n=1, deep={"a": [None]}, nan=math.nan, none=None), row(completion="d")])
    first, second = made.completions["completion_id"]
    assert (made.model[first], made.model[second]) == ("m", None)
    assert made.completions["policy"].to_list() == ["m", "imported"]
    assert json.loads(made.extra[first]) == {"n": 1, "deep": {"a": [None]}, "nan": "nan"}
    assert made.extra[second] is None


def test_what_differs_between_judges_stands_under_their_names(tmp_path: Path) -> None:
    made = take(tmp_path, [row(judge="a", n=1, same=0, model="m"), row(judge="b", n=2, same=0, model="o")])
    (extra,) = made.extra.values()
    assert json.loads(extra) == {"n": {"a": 1, "b": 2}, "same": 0, "model": {"b": "o"}}


# Judgements


@pytest.mark.parametrize(
    ("fields", "wim", "status"),
    [
        ({"feedback": "x"}, "x", "missing"),
        ({"feedback": ""}, "", "nothing"),
        ({"feedback": " \n"}, "", "nothing"),
        ({"feedback": None}, None, "absent"),
        ({}, None, "absent"),
    ],
)
def test_feedback_is_missing_nothing_or_absent(fields: Any, wim: str | None, status: str, tmp_path: Path) -> None:
    made = take(tmp_path, [row(**fields)])
    assert (made.column("wim"), made.column("wim_status"), made.column("reason")) == ([wim], [status], [None])
    assert made.column("rating_status") == ["absent"]


HUGE = "1" + "0" * 400


@pytest.mark.parametrize(
    ("rating", "status", "reason"),
    [
        ("7", "ok", None),
        ("7.5", "ok", None),
        ("1", "ok", None),
        ("10", "ok", None),
        ("null", "absent", None),
        ("0", "unreadable", "out_of_scale"),
        ("10.01", "unreadable", "out_of_scale"),
        (HUGE, "unreadable", "out_of_scale"),
        ("-" + HUGE, "unreadable", "out_of_scale"),
        ("1" * 5000, "unreadable", "out_of_scale"),
        ("1e999", "unreadable", "out_of_scale"),
        ("Infinity", "unreadable", "out_of_scale"),
        ("NaN", "unreadable", "not_a_number"),
        ('"7"', "unreadable", "not_a_number"),
        ('"good"', "unreadable", "not_a_number"),
        ("true", "unreadable", "not_a_number"),
        ("[7]", "unreadable", "not_a_number"),
        ('{"a": 7}', "unreadable", "not_a_number"),
    ],
)
def test_a_rating_that_cannot_be_read_is_no_bad_record(rating: str, status: str, reason: Any, tmp_path: Path) -> None:
    line = f'{{"prompt": "p", "completion": "c", "feedback": "f", "rating": {rating}}}'
    made = take(tmp_path, [line, line])
    assert (made.column("rating_status"), made.column("reason")) == ([status], [reason])
    assert (made.column("wim"), made.column("wim_status")) == (["f"], ["missing"])
    assert made.column("rating") == [float(rating) if status == "ok" else None]
    assert made.account.duplicates == 1


def test_a_record_may_bring_its_own_scale(tmp_path: Path) -> None:
    records = [row(rating=5, rating_min=0, rating_max=5), row(rating=12, rating_max=20, judge="k"), row(judge="l")]
    made = take(tmp_path, records)
    assert made.column("rating") == [5, 12, None]
    assert made.column("scale_min") == [0, None, None]
    assert made.column("scale_max") == [5, 20, None]
    assert take(tmp_path, [row(rating=6, rating_min=0, rating_max=5)]).column("reason") == ["out_of_scale"]


def test_a_judges_text_is_read_where_the_record_says_nothing_itself(tmp_path: Path) -> None:
    raw = "Rating: [[4]]\nWIM: [[[The date.]]]"
    made = take(
        tmp_path,
        [
            row(raw=raw, judge="a"),
            row(raw=raw, judge="b", feedback="own", rating=9),
            row(raw="Rating: [[4]]", judge="c", feedback="own"),
            row(raw="nonsense", judge="d"),
            row(raw="", judge="e"),
            row(raw="Rating: [[4/5]]\nWIM: [[[x]]]", judge="f", rating_max=5),
            row(raw=raw, judge="g", rating="?"),
        ],
    )
    assert made.column("wim") == ["The date.", "own", "own", None, None, "x", "The date."]
    assert made.column("rating") == [4, 9, 4, None, None, 4, None]
    assert made.column("reason") == [None, None, None, "no_brackets", "empty_output", None, "not_a_number"]
    assert made.column("raw")[0] == raw
    assert made.column("wim_status")[3:5] == ["unreadable", "unreadable"]


def test_judges_are_named_numbered_or_judge(tmp_path: Path) -> None:
    records = [
        row(judge="b"),
        row(judge="a", sample=3),
        row(judge="a", sample=0.0),
        row(sample=1),
        row(),
        row(judge=" ", feedback="x"),
    ]
    made = take(tmp_path, records)
    assert made.judges == ["a#0", "a#3", "b", "judge", "judge#1", "judge#2"]
    assert made.column("wim")[-1] == "x"


def test_the_same_judge_with_another_text_is_another_and_exact_duplicates_are_dropped(tmp_path: Path) -> None:
    records = [row(judge="j", feedback=f, rating=r) for f, r in [("x", 7), ("y", 7), ("x", 7.0), ("x", 8), ("y", 7)]]
    made = take(tmp_path, records)
    assert made.feedback.select("judge", "wim", "rating").rows() == [("j", "x", 7), ("j#1", "y", 7), ("j#2", "x", 8)]
    assert (made.account.records, made.account.judgements, made.account.duplicates) == (5, 3, 2)
    assert made.column("attempt") == [0, 0, 0]


# Bad records


@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        ("{", None, "not JSON"),
        ("[1]", None, "not a JSON object"),
        ('{"a":' * 50_000 + "1" + "}" * 50_000, None, "nested too deeply"),
        ({"completion": "c"}, "prompt", "is required (or prompt_id); the record has completion"),
        ({"prompt": "p"}, "completion", "is required; the record has prompt"),
        ({}, "prompt", "the record has no fields"),
        (row(completion=None), "completion", "is required"),
        (row(completion=5), "completion", "must be a text, is a number"),
        (row(completion="\ud800"), "completion", "lone surrogate"),
        (row(prompt=""), "prompt", "is empty"),
        (row(prompt=" "), "prompt", "is empty"),
        (row(prompt="", prompt_id="x"), "prompt", "is empty"),
        (row(prompt=[]), "prompt", "is empty"),
        (row(prompt=True), "prompt", "is true or false"),
        (row(prompt_id=5), "prompt_id", "must be a text"),
        (row(prompt=None, prompt_id=" "), "prompt", "is required"),
        (row(completion_id=5), "completion_id", "must be a text"),
        (row(feedback=5), "feedback", "must be a text"),
        (row(feedback="\udfff"), "feedback", "lone surrogate"),
        (row(raw=[]), "raw", "must be a text"),
        (row(judge=1), "judge", "must be a text"),
        (row(sample="one"), "sample", "must be a whole number"),
        (row(sample=True), "sample", "must be a whole number"),
        (row(sample=1.5), "sample", "must be a whole number"),
        (row(sample=math.nan), "sample", "must be a whole number"),
        (row(source=1), "source", "must be a text"),
        (row(reference=1), "reference", "must be a text"),
        (row(model=1), "model", "must be a text"),
        (row(rating_min=True), "rating_min", "must be a finite number"),
        (row(rating_max="10"), "rating_max", "must be a finite number"),
        (row(rating_max=math.nan), "rating_max", "must be a finite number"),
        (row(rating_min=5, rating_max=5), "rating_min", "must be below rating_max"),
    ],
)
def test_a_bad_record_is_named_kept_and_counted(record: Any, field: str | None, reason: str, tmp_path: Path) -> None:
    ((line, found, said),) = rejected(tmp_path, record)
    assert (line, found) == (1, field)
    assert reason in said


def test_bad_records_are_told_on_stderr_and_kept_as_ascii_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take(tmp_path, [row(), {"prompt": "é\ud800"}, '{"x": "é'])
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"rejected: {tmp_path / 'records.jsonl'}, line 2, field 'prompt': ")
    assert said[1].startswith(f"rejected: {tmp_path / 'records.jsonl'}, line 3: not JSON")
    content = (tmp_path / "run" / "rejected.jsonl").read_bytes()
    assert content.isascii()
    assert [json.loads(line)["record"] for line in content.splitlines()][1] == '{"x": "é'


def test_strict_stops_at_the_first_bad_record_of_any_kind(tmp_path: Path) -> None:
    conflict = [row(completion_id="a"), row(completion_id="a", completion="d"), "not JSON"]
    with pytest.raises(InputError, match="line 2, field 'completion_id'"):
        take(tmp_path, conflict, strict=True)
    assert not (tmp_path / "run").exists()
    take(tmp_path, [row()], strict=True)


@pytest.mark.parametrize("content", ["", "\n\n", "nonsense\n", '{"prompt": ""}\n'])
def test_without_a_usable_record_there_is_one_line_and_exit_code_one(
    content: str, tmp_path: Path, wim: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    assert wim("ingest", "x.jsonl", "--out", "run") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("wim: x.jsonl: no usable record among ")
    assert not tables.path(tmp_path / "run", "prompts").exists()
    assert (tmp_path / "run" / "rejected.jsonl").exists() == bool(content.strip())


def test_one_usable_record_is_enough_for_exit_code_zero(tmp_path: Path, wim: Any) -> None:
    (tmp_path / "x.jsonl").write_text("nonsense\n" + json.dumps(row()) + "\n")
    assert wim("ingest", "x.jsonl", "--out", "run") == 0
    (tmp_path / "x.jsonl").write_text(json.dumps(row()) + "\n")
    assert wim("ingest", "x.jsonl", "--out", "run") == 0
    assert not (tmp_path / "run" / "rejected.jsonl").exists()


def test_a_file_that_cannot_be_read_stops_the_import_and_leaves_the_old_tables(tmp_path: Path) -> None:
    before = take(tmp_path, [row()])
    good, cut = tmp_path / "records.jsonl", tmp_path / "cut.jsonl.gz"
    good.write_text(json.dumps(row(completion="new")) + "\n")
    cut.write_bytes(gzip.compress(b'{"prompt": "p", "completion": "x"}\n' * 9)[:-12])
    for bad in (cut, tmp_path / "missing.jsonl", tmp_path / "kind.txt", tmp_path):
        with pytest.raises(WimError, match=bad.name):
            ingest.run([good, bad], tmp_path / "run", PARAMS)
        assert Imported(tmp_path / "run", before.account).completions.equals(before.completions)


# Files


def test_map_renames_columns_and_a_name_that_is_no_field_is_refused(tmp_path: Path) -> None:
    made = take(
        tmp_path,
        [{"question": "p", "response": "c", "critique": "f"}],
        columns={"prompt": "question", "completion": "response", "feedback": "critique"},
    )
    assert (made.column("wim"), made.completions["text"].to_list()) == (["f"], ["c"])
    assert set(made.extra.values()) == {None}
    with pytest.raises(UsageError, match=r"'completon'; the nearest is 'completion'"):
        take(tmp_path, [row()], columns={"completon": "response"})


FLAT: list[dict[str, Any]] = [
    {"prompt": "p", "completion": "a\nb", "feedback": "f", "rating": 7, "judge": "j", "sample": 1, "colour": "red"},
    {"prompt": "p", "completion": 'é "quoted", with commas', "feedback": "g", "rating": 99, "colour": "blue"},
    {"prompt": "q", "completion": "c", "rating": 3.5, "rating_max": 5},
]


def save(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    names = sorted({name for row in rows for name in row})
    if ".parquet" in file.name:
        pq.write_table(pa.Table.from_pylist([{n: r.get(n) for n in names} for r in rows]), file)
        return
    if ".csv" in file.name:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(rows)
        content = text.getvalue()
    else:
        content = json.dumps(rows) if ".json" in file.suffixes else "".join(json.dumps(row) + "\n" for row in rows)
    data = content.encode()
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.json", "x.json.gz", "x.csv", "x.csv.gz", "x.parquet"])
def test_every_kind_of_file_gives_the_same_tables(name: str, tmp_path: Path) -> None:
    made = []
    for file in (tmp_path / "x.jsonl", tmp_path / name):
        save(file, FLAT)
        made.append(Imported(tmp_path / "run", ingest.run([file], tmp_path / "run", PARAMS)))
    one, two = made
    assert one.prompts.equals(two.prompts)
    assert one.completions.equals(two.completions)
    assert one.feedback.equals(two.feedback)
    assert one.extra == two.extra


def test_several_files_are_one_import(tmp_path: Path) -> None:
    for name, rows in (("a.jsonl", FLAT[:1]), ("b.csv", FLAT[1:2]), ("c.parquet", FLAT[2:])):
        save(tmp_path / name, rows)
    files = [tmp_path / name for name in ("a.jsonl", "b.csv", "c.parquet")]
    made = Imported(tmp_path / "run", ingest.run(files, tmp_path / "run", PARAMS))
    assert (made.account.records, made.account.prompts, made.account.completions) == (3, 2, 3)


def test_the_same_records_give_the_same_bytes_without_a_path(tmp_path: Path) -> None:
    contents = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        take(folder, FLAT)
        contents.append([tables.path(folder / "run", name).read_bytes() for name in TABLES])
    assert contents[0] == contents[1]
    assert not any(str(tmp_path).encode() in content for content in contents[0])


def test_the_search_for_cycles_is_on_again_after_an_import_and_after_a_failed_one(tmp_path: Path) -> None:
    take(tmp_path, [row()])
    assert gc.isenabled()
    with pytest.raises(InputError):
        take(tmp_path, ["nonsense"])
    assert gc.isenabled()


def test_nul_characters_and_ten_megabytes_are_texts_like_others(tmp_path: Path) -> None:
    long = "é\0" * 5_000_000
    made = take(tmp_path, [row(completion=long, feedback="a\0b")])
    assert made.completions["text"].to_list() == [long]
    assert made.column("wim") == ["a\0b"]


# Accounting

TEXTS = st.sampled_from(["a", "b", "", " ", "\ud800", "é"]) | st.none() | st.integers()
RECORD = st.fixed_dictionaries(
    {},
    optional={
        "prompt": TEXTS | st.just([{"role": "user", "content": "a"}]),
        "prompt_id": TEXTS,
        "completion": TEXTS,
        "completion_id": TEXTS,
        "feedback": TEXTS,
        "rating": st.integers(-1, 12) | st.floats() | TEXTS | st.booleans(),
        "rating_min": st.none() | st.integers(0, 5),
        "raw": st.sampled_from(["Rating: [[4]]", "WIM: [[[x]]]", ""]) | TEXTS,
        "judge": TEXTS,
        "sample": st.none() | st.integers(0, 2) | st.floats(),
        "model": TEXTS,
        "more": TEXTS | st.floats(),
    },
)
GOOD = RECORD.map(lambda r: r | {"prompt": "p" if r.get("prompt_id") is None else None, "completion": "a"})


@settings(max_examples=150, deadline=None)
@given(records=st.lists(RECORD | GOOD | st.sampled_from(["[", "1", '{"a": 1}']), max_size=12))
def test_every_record_is_a_judgement_a_duplicate_or_rejected(
    records: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("ingest")
    try:
        made = take(folder, records)  # which checks the identity
    except InputError as error:
        assert "no usable record" in str(error)  # noqa: PT017
        return
    assert made.account.records == len(records)
    assert made.feedback.select("completion_id", "judge").is_unique().all()
    assert made.completions["completion_id"].is_unique().all()
    assert made.completions.select("prompt_id", "index").is_unique().all()
    assert set(made.feedback["completion_id"]) == set(made.completions["completion_id"])
    assert set(made.completions["prompt_id"]) == set(made.prompts["prompt_id"])
    assert made.completions["completion_id"].is_sorted()
    assert (made.feedback["rating"].is_not_null() == (made.feedback["rating_status"] == "ok")).all()
    assert all(extra is None or isinstance(json.loads(extra), dict) for extra in made.extra.values())
    again = take(folder, [*records, *records])
    assert again.feedback.equals(made.feedback)
