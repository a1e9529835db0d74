"""clean: what is kept is shown, and removed on demand; without it the next run computes its rows again."""

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder import clean, rows, tables

Wim = Callable[..., int]
Shown = Callable[..., str]
ECHO = ("--set", "engine.name=echo")
ROWS = 4 * 4


@pytest.fixture
def folder(wim: Wim, write_jsonl: Any, tmp_path: Path) -> Path:
    """A folder in which completions, judgements and vectors are kept."""
    write_jsonl(
        [{"prompt": f"Tell me about thing number {i} in some more words please"} for i in range(4)], "prompts.jsonl"
    )
    assert wim("prompts", "runs", "--set", "prompts.source=prompts.jsonl") == 0
    for stage in ("complete", "judge"):
        assert wim(stage, "runs/a/0", *ECHO) == 0
    vectors = tmp_path / ".wim/embed/0123456789abcdef"
    vectors.mkdir(parents=True)
    tables.write_json(vectors / rows.SETTINGS, {"model": {}, "settings": {"model": "minilm"}})
    return tmp_path


@pytest.fixture
def shown(folder: Path, wim: Wim, capsys: pytest.CaptureFixture[str]) -> Shown:
    """What `wim clean ARGUMENTS` prints."""
    del folder

    def call(*arguments: str) -> str:
        capsys.readouterr()
        assert wim("clean", *arguments) == 0
        return capsys.readouterr().out

    return call


def kinds() -> list[str]:
    """Of what rows are kept."""
    return sorted(kept.kind for kept in clean.listed())


def age(kind: str, days: float) -> None:
    then = time.time() - days * clean.DAY
    for file in Path(".wim", kind).rglob("*"):
        os.utime(file, (then, then))


def test_what_is_kept_is_shown_with_who_made_it_and_how_large_and_old_it_is(shown: Shown) -> None:
    age("judge", 12.2)
    text = shown()
    assert re.match(r"kept: \d+\.\d MB\nkind +made by +rows +MB +days unused +folder\n", text)
    assert re.search(rf"\ncomplete +echo model \w{{8}} +{ROWS} +0\.0 +0 +\.wim/complete/\w{{16}}\n", text)
    assert re.search(rf"\njudge +echo model \w{{8}} +{ROWS} +0\.0 +12 +\.wim/judge/\w{{16}}\n", text)
    assert re.search(r"\nembed +minilm +0 +0\.0 +0 +\.wim/embed/0123456789abcdef\n", text)
    assert kinds() == ["complete", "embed", "judge"]


def test_the_model_that_an_engine_names_goes_before_the_policys_own(shown: Shown) -> None:
    for model, told in (("served", "endpoint served 01234567"), (None, "endpoint own 01234567")):
        settings = {
            "engine": "endpoint",
            "settings": {"model": model},
            "policy": {"model": "own", "hash": "0123456789"},
        }
        tables.write_json(Path(".wim/embed/0123456789abcdef") / rows.SETTINGS, settings)
        assert told in shown()


def test_where_nothing_is_kept_that_is_said(wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim("clean", "--all") == 0
    assert capsys.readouterr().out == "nothing is kept\n"


def test_kinds_are_removed_by_name(shown: Shown) -> None:
    text = shown("judge", "embed")
    assert text.index("removed:") < text.index("\njudge") < text.index("kept:") < text.index("\ncomplete")
    assert kinds() == ["complete"]


def test_everything_is_removed_and_computed_anew(shown: Shown, wim: Wim, folder: Path) -> None:
    table = folder / "runs/a/0/completions.parquet"
    before = table.read_bytes()
    assert "kept:" not in shown("--all")
    assert list(Path(".wim").glob("*/*")) == []
    assert wim("complete", "runs/a/0", *ECHO) == 0
    assert table.read_bytes() == before
    assert [(kept.kind, kept.rows) for kept in clean.listed()] == [("complete", ROWS)]


def test_only_what_was_not_used_for_so_long_is_removed(shown: Shown, wim: Wim) -> None:
    for kind in ("complete", "judge"):
        age(kind, 40)
    age("embed", 20)
    assert wim("judge", "runs/a/0", *ECHO) == 0  # a use, though nothing is written but the settings
    shown("--unused-for", "30")
    assert kinds() == ["embed", "judge"]
    shown("judge", "--unused-for", "10")
    assert kinds() == ["embed", "judge"]
    shown("--unused-for", "10")
    assert kinds() == ["judge"]


def test_a_file_from_the_future_is_removed_too(shown: Shown) -> None:
    age("complete", -3)
    assert re.search(r"\ncomplete .* 0 +\.wim", shown("--all"))
    assert kinds() == []


@pytest.mark.parametrize("arguments", [["--all"], ["complete"], ["--unused-for", "0"]])
def test_a_dry_run_says_what_would_go_and_removes_nothing(arguments: list[str], shown: Shown) -> None:
    files = sorted(Path(".wim").rglob("*.*"))
    text = shown("--dry-run", *arguments)
    assert text.startswith("would be removed: ")
    assert sorted(Path(".wim").rglob("*.*")) == files
    assert kinds() == ["complete", "embed", "judge"]


def test_json_holds_what_the_screen_shows(shown: Shown) -> None:
    said = json.loads(shown("judge", "--json"))
    assert set(said) == {"kept", "removed", "busy", "dry_run"}
    (removed,) = said["removed"]
    assert (removed["kind"], removed["rows"], said["dry_run"]) == ("judge", ROWS, False)
    assert removed["size"] > 1000
    assert [kept["kind"] for kept in said["kept"]] == ["complete", "embed"]


def test_an_unknown_kind_is_wrong_usage_and_removes_nothing(wim: Wim, folder: Path) -> None:
    del folder
    assert wim("clean", "complete", "completions") == 2
    assert kinds() == ["complete", "embed", "judge"]


@pytest.mark.parametrize("settings", ["", "{", "[1]", '{"policy": [], "settings": null}', '{"engine": {"a": 1}}'])
def test_damaged_folders_are_shown_and_removed_like_others(settings: str, shown: Shown) -> None:
    (damaged,) = Path(".wim/complete").iterdir()
    (damaged / rows.SETTINGS).write_text(settings)
    next(damaged.glob("*.parquet")).write_bytes(b"PAR1")
    (damaged / "a folder.parquet").mkdir()
    (Path(".wim") / "a file").touch()
    (Path(".wim/judge") / "another").touch()
    assert re.search(r"\ncomplete .* 0 +0\.0 +0 +\.wim/complete", shown())
    shown("--all")
    assert kinds() == []


def test_a_folder_without_settings_is_shown_and_removed_like_others(shown: Shown) -> None:
    (Path(".wim/embed/0123456789abcdef") / rows.SETTINGS).rename(".wim/embed/0123456789abcdef/part.parquet")
    assert ".wim/embed/0123456789abcdef" in shown()
    shown("embed")
    assert kinds() == ["complete", "judge"]


def test_what_a_process_holds_is_left_alone_and_said_so(shown: Shown) -> None:
    (held,) = Path(".wim/complete").iterdir()
    with rows.lock(held):
        text = shown("--all")
    assert text.startswith("removed: ")
    assert re.search(r"in use, left alone: .*\n.*\ncomplete ", text)
    assert kinds() == ["complete"]


def test_what_a_killed_clean_left_is_removed_by_the_next(shown: Shown) -> None:
    (folder,) = Path(".wim/complete").iterdir()
    folder.rename(folder.with_name(f".{folder.name}.4711.tmp"))
    assert ".4711.tmp" in shown("complete")
    assert kinds() == ["embed", "judge"]
