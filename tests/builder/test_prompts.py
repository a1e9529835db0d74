"""prompts: sources -> prompts.parquet and heldout.parquet."""

import json
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder import ids, prompts, tables
from builder.errors import InputError, WimError
from builder.params import load
from builder.prompts import Made


def made(folder: Path, records: Sequence[Any], heldout: Sequence[Any] | None = None, limit: int | None = None) -> Made:
    """Run the stage on records; a text stands for its line."""
    sets = [f"prompts.limit={limit or 'null'}"]
    for name, rows in (("source", records), ("heldout", heldout)):
        file = folder / f"{name}.jsonl"
        if rows is not None:
            file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        sets.append(f"prompts.{name}={'null' if rows is None else file}")
    return prompts.run(folder / "run", load(None, sets))


def table(folder: Path, name: str = "prompts") -> pl.DataFrame:
    return tables.read(tables.path(folder / "run", name), name)


def test_a_record_is_a_text_or_messages_with_reference_source_and_id(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    records = [
        {"prompt": "a", "reference": "42", "source": "s"},
        {"prompt": turns, "prompt_id": "x"},
        {"messages": turns, "prompt_id": "y"},
        {"prompt": "b", "messages": "ignored", "prompt_id": ""},
    ]
    assert made(tmp_path, records) == Made(4, 0, 0, 0, 0)
    rows = {row["prompt_id"]: row for row in table(tmp_path).to_dicts()}
    name = ids.prompt_id([{"role": "user", "content": "a"}])
    assert rows[name] == {
        "prompt_id": name,
        "messages": [{"role": "user", "content": "a"}],
        "source": "s",
        "reference": "42",
    }
    assert rows["x"]["messages"] == rows["y"]["messages"] == turns
    assert table(tmp_path)["prompt_id"].is_sorted()


def test_duplicates_are_counted_and_prompts_that_share_an_id_are_kept_apart(tmp_path: Path) -> None:
    records = [{"prompt": p, "prompt_id": "x"} for p in "aba"] + [{"prompt": "c"}, {"prompt": "c"}]
    assert made(tmp_path, records) == Made(3, 0, 2, 0, 1)
    names = set(table(tmp_path)["prompt_id"])
    assert {f"x~{ids.prompt_id([{'role': 'user', 'content': p}])[:8]}" for p in "ab"} < names


def test_the_limit_counts_prompts_not_records(tmp_path: Path) -> None:
    records = [{"prompt": p} for p in "aabbcc"]
    assert made(tmp_path, records, limit=2).prompts == 2
    assert made(tmp_path, records, limit=9).prompts == 3


def test_bad_records_are_told_kept_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = [
        "nonsense",
        {"prompt": ""},
        {"prompt": None},
        {"question": "x"},
        {"prompt": 3},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"prompt": "\ud800"},
        {"prompt": "q", "reference": 3},
        {"prompt": "q", "prompt_id": 3},
    ]
    assert made(tmp_path, [*bad, {"prompt": "good"}]).rejected == len(bad)
    kept = [json.loads(line) for line in (tmp_path / "run" / "rejected.jsonl").read_text().splitlines()]
    assert [line["line"] for line in kept] == list(range(1, len(bad) + 1))
    assert kept[3]["reason"] == "is required (or messages); the record has question"
    assert kept[5]["field"] == "messages"
    assert "line 2, field 'prompt': is empty" in capsys.readouterr().err


def test_without_a_usable_prompt_the_error_names_the_source(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"source\.jsonl: no usable prompt; the first fault: .*line 1"):
        made(tmp_path, ["nonsense"])
    with pytest.raises(InputError, match=r"source\.jsonl: no usable prompt$"):
        made(tmp_path, [])
    with pytest.raises(InputError, match=r"heldout\.jsonl: no usable prompt"):
        made(tmp_path, [{"prompt": "a"}], heldout=[])


def test_heldout_prompts_are_another_table_and_never_in_training(tmp_path: Path) -> None:
    assert made(tmp_path, [{"prompt": "a"}], [{"prompt": "b", "reference": "r"}]).heldout == 1
    assert table(tmp_path, "heldout")["reference"].to_list() == ["r"]
    for shared in ({"prompt": "a"}, {"prompt": "a", "prompt_id": "by another name"}):
        with pytest.raises(InputError, match="1 prompts are also in"):
            made(tmp_path, [{"prompt": "a"}, {"prompt": "c"}], [shared, {"prompt": "b"}])


def test_the_same_source_gives_the_same_bytes_without_a_path(tmp_path: Path) -> None:
    contents = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        made(folder, [{"prompt": "a"}, {"prompt": "b"}])
        contents.append(tables.path(folder / "run", "prompts").read_bytes())
    assert contents[0] == contents[1]
    assert str(tmp_path).encode() not in contents[0]


@pytest.mark.parametrize("source", ["none.jsonl", "a/b.jsonl", "/a/b", "name", "a/b/c", "a/b.parquet", "a/b.csv.gz"])
def test_what_is_neither_a_file_nor_a_name_on_the_hub_is_an_error(source: str) -> None:
    with pytest.raises(InputError, match="no such file, and no name of a dataset on the Hub"):
        prompts.read(source)


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        prompts.read(str(tmp_path / "x.jsonl"))


@pytest.mark.parametrize("error", [ConnectionError("cannot reach\nit"), ValueError("no split"), RuntimeError("odd")])
def test_a_dataset_that_cannot_be_loaded_is_one_clear_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(WimError, match=r"^owner/name-v1\.5: cannot be loaded from the Hub: .+$") as said:
        list(prompts.read("owner/name-v1.5:test"))
    assert "\n" not in str(said.value)


def test_a_dataset_of_the_hub_is_read_by_name_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = types.SimpleNamespace()

    def load_dataset(name: str, split: str) -> list[dict[str, Any]]:
        asked.name, asked.split = name, split
        return [{"prompt": [{"content": "hi", "role": "user"}]}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    (record,) = prompts.read("owner/name:test")
    assert (asked.name, asked.split) == ("owner/name", "test")
    assert record.line == 1
    list(prompts.read("owner/name"))
    assert asked.split == "train"


@settings(max_examples=60, deadline=None)
@given(
    records=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "prompt": st.sampled_from(["a", "b", "", None, 3]),
                "prompt_id": st.sampled_from(["x", "y", None, 3]),
            },
        ),
        max_size=10,
    )
)
def test_every_record_is_a_prompt_a_duplicate_or_rejected(
    records: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        result = made(tmp_path_factory.mktemp("prompts"), records)
    except InputError:
        return
    assert result.prompts + result.duplicates + result.rejected == len(records)
