"""`wim publish` without --push: where the folder lies, what it replaces, and what is shown of it."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from published import RUNS, Publish, card_of, contents, read

from builder import tables

Wim = Callable[..., int]


def test_what_an_earlier_publication_has_left_goes_and_the_rest_stays(copy: Path, publish: Publish) -> None:
    out = copy / "dataset"
    assert publish(copy) == 0
    for old in ("data/train-00000-of-00001.parquet", "data/old-round3/test-00001-of-00002.parquet", "images/old.png"):
        (out / old).parent.mkdir(parents=True, exist_ok=True)
        (out / old).write_bytes(b"old")
    mine = {".git/HEAD": b"mine", "data/notes.txt": b"mine", "data/wim-round0/own.parquet": b"mine"}
    for name, content in mine.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    first = {name: content for name, content in contents(out).items() if name not in mine and "old" not in name}
    del first["data/train-00000-of-00001.parquet"]
    assert publish(copy) == 0
    assert contents(out) == first | mine


def test_a_readme_of_somebody_else_is_never_overwritten(
    copy: Path, publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text("# Mine\n")
    assert publish(copy, "--out", tmp_path) == 2
    assert capsys.readouterr().err.endswith("its README.md was not written by `wim publish`; take another folder\n")
    assert (tmp_path / "README.md").read_text() == "# Mine\n"
    assert not (tmp_path / "data").exists()


def test_a_run_is_never_overwritten_by_its_publication(
    copy: Path, trained: Path, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(copy)
    assert publish(copy, "--out", copy) == 2
    assert "holds completions.parquet, which is no publication" in capsys.readouterr().err
    assert contents(copy) == before
    before = contents(trained / "policy")
    assert publish(trained, "--adapter", "--out", trained / "policy") == 2
    assert contents(trained / "policy") == before


def test_what_cannot_be_published_leaves_the_earlier_folder_as_it_was(
    copy: Path, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(copy) == 0
    before = contents(copy / "dataset")
    tables.write(copy / "pairs.parquet", "pairs", tables.read(copy / "pairs.parquet", "pairs")[:0], {})
    assert publish(copy) == 1
    assert capsys.readouterr().err == (
        "wim: publish: the runs hold no pair; `wim stats` tells what became of their prompts\n"
    )
    assert contents(copy / "dataset") == before


def test_the_same_run_twice_is_refused(publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish("runs/wim/0", "runs/wim/0", "--out", tmp_path / "d") == 1
    assert "the same pair is in several of the runs" in capsys.readouterr().err


def test_the_default_place_is_in_the_run_or_above_several(
    made: Path, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made / "runs", tmp_path / "runs", ignore=shutil.ignore_patterns("dataset", "trained"))
    runs = [tmp_path / run for run in RUNS]
    monkeypatch.chdir(tmp_path)
    for some in (runs[:1], runs[:2], [RUNS[0], *runs[1:]]):
        assert publish(*some, "--set", "publish.test=0") == 0
    found = {file.parent.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("README.md")}
    assert found == {"runs/wim/0/dataset", "runs/wim/dataset", "runs/dataset"}


def test_the_screen_shows_configurations_and_files(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(*RUNS[:2], "--out", tmp_path / "d") == 0
    page = capsys.readouterr().out
    pairs = {split: len(frame) for split, frame in read(tmp_path / "d", "data/wim-round1").items()}
    assert re.search(rf"wim-round1 +=? ?default +{pairs['train']} +{pairs['test']}\n", page)
    for name, content in contents(tmp_path / "d").items():
        assert re.search(rf"{name} .* {len(content):,}\n", page), name
    assert page.endswith("nothing was sent: --push sends these files to --repo OWNER/NAME (private if it is new)\n")


def test_two_imports_without_arm_are_told_apart_by_their_folders(tmp_path: Path, wim: Wim, write_jsonl: Any) -> None:
    for name in ("mine", "yours"):
        records = [
            {"prompt": f"{name} {i}", "completion": text, "feedback": f"leaves out {text} {i}", "rating": 5}
            for i in range(4)
            for text in ("the size", "the colour of it")
        ]
        assert wim("build", write_jsonl(records, f"{name}.jsonl"), "--out", name) == 0
    assert wim("publish", tmp_path / "mine", tmp_path / "yours", "--out", "d", "--set", "publish.test=0") == 0
    names = [config["config_name"] for config in card_of(tmp_path / "d").data.configs]
    assert names == ["default", "mine", "yours", "ratings"]
    text = card_of(tmp_path / "d").text
    assert not any(str(tmp_path).encode() in content for content in contents(tmp_path / "d").values())
    assert "What the judge was asked is not known" in text
    assert "| mine | imported | imported | wim, zeta 1 |" in text


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("publish.license=Apache 2", "publish.license must be the Hub's name of a licence"),
        ("publish.language=[english]", "publish.language must be a list of ISO 639 codes"),
        ("publish.test=0.7", "publish.test must be between 0 and 0.5"),
    ],
)
def test_wrong_settings_are_one_line(
    wrong: str, told: str, copy: Path, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(copy, "--set", wrong) == 1
    assert capsys.readouterr().err.startswith(f"wim: {told}")
