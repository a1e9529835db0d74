"""The dataset card: its YAML is what the folder holds, its text is how it was made."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard, DatasetCardData
from published import RUNS, Publish, card_of, read

from builder import tables
from builder.hub.card import size

Wim = Callable[..., int]


def test_the_yaml_is_what_the_hub_reads(folder: Path) -> None:
    data = card_of(folder).data
    assert isinstance(data, DatasetCardData)
    assert (data.license, data.language, data.size_categories) == ("unknown", ["en"], ["n<1K"])
    assert data.task_categories == ["text-generation"]
    assert {"preference", "dpo", "trl", "what-is-missing"} <= set(data.tags)
    assert DatasetCard(str(card_of(folder))).data.to_dict() == data.to_dict()
    configs = [config["config_name"] for config in data.configs]
    assert configs == ["default", "wim-round0", "wim-round1", "numerical-round1", "ratings"]
    assert data.configs[0]["data_files"] == data.configs[2]["data_files"]  # the last round of the first arm


def test_what_the_yaml_says_of_rows_and_columns_is_so(folder: Path) -> None:
    import datasets

    infos = {info["config_name"]: info for info in card_of(folder).data.dataset_info}
    files = {config["config_name"]: config["data_files"] for config in card_of(folder).data.configs}
    assert infos.keys() == files.keys()
    for name, info in infos.items():
        tables_ = {each["split"]: pq.read_table(*folder.glob(each["path"])) for each in files[name]}
        assert {s["name"]: s["num_examples"] for s in info["splits"]} == {s: len(t) for s, t in tables_.items()}
        features = datasets.Features.from_arrow_schema(next(iter(tables_.values())).schema)
        assert datasets.Features._from_yaml_list(info["features"]) == features
        assert info["download_size"] == sum(f.stat().st_size for each in files[name] for f in folder.glob(each["path"]))


def test_a_folder_loads_as_its_card_says(folder: Path, tmp_path: Path) -> None:
    import datasets

    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    both = read(folder, "data/wim-round1")
    assert {split: part["pair_id"][:] for split, part in loaded.items()} == {
        split: frame["pair_id"].to_list() for split, frame in both.items()
    }
    assert datasets.get_dataset_config_names(str(folder)) == [
        "default", "wim-round0", "wim-round1", "numerical-round1", "ratings",
    ]  # fmt: skip


def test_the_card_tells_how_it_was_made(folder: Path, made: Path) -> None:
    text = card_of(folder).text
    about = tables.read_metadata(made / "runs/wim/1/feedback.parquet")
    assert f"`{about['policy']['model']}` ({about['policy']['hash']})" in text
    for said in ("You review the answer that an assistant gave", "{the completion}", "temperature: 0.9", "seed: 2"):
        assert said in text
    assert "| numerical-round1 |" in text
    assert "numerical, zeta 1 | best_worst, a tie up to a gap of 0 (ties: drop)" in text
    assert text.count("The request and the answer are data") == 1  # the same prompt in all runs is told once


def test_the_parameters_of_every_run_are_a_file_too(folder: Path, made: Path) -> None:
    told = tables.read_json(folder / "parameters.json")
    assert list(told) == ["wim round 0", "wim round 1", "numerical round 1"]
    for run, stages in zip(RUNS, told.values(), strict=True):
        assert list(stages) == ["complete", "judge", "embed", "rate", "pair"]
        assert stages["pair"] == tables.read_metadata(made / run / "pairs.parquet")["params"]


def test_the_card_shows_ties_health_and_splits(folder: Path, made: Path) -> None:
    text = card_of(folder).text
    for run, label in zip(RUNS, ("wim round 0", "wim round 1", "numerical round 1"), strict=True):
        stats = tables.read_json(made / run / "stats.json")
        method = stats["methods"]["numerical"]
        assert f"| {label} | numerical | {method['judged_pairs']:,} | {method['tie_rate']:.2%} |" in text
        assert tables.read_json(folder / "stats.json")[label] == stats
    assert "| health | number~letters |" in text
    assert text.count("**Warning.**") >= 1
    assert re.search(r"\d+ of 120 prompts are `test`, drawn by the hash of their ids", text)
    assert "Nobody has held these ratings against a truth" in text


def test_pictures_are_pngs_that_the_card_shows(folder: Path) -> None:
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", card_of(folder).text)
    assert shown == ["images/ratings.png", "images/deltas.png"]
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in shown)


def test_licence_language_and_arm_are_told(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ("--set", "publish.license=cc-by-4.0", "--set", "publish.language=[de, fr]", "--set", "publish.test=0")
    assert publish("runs/wim/0", "--out", tmp_path / "d", "--repo", "me/{arm}-pairs", *sets) == 0
    data = card_of(tmp_path / "d").data
    assert (data.license, data.language, data.pretty_name) == ("cc-by-4.0", ["de", "fr"], "wim-pairs")
    assert "There is no split `test`." in card_of(tmp_path / "d").text
    assert "the card says: licence cc-by-4.0 (publish.license), language de, fr" in capsys.readouterr().out
    assert [file.name for file in (tmp_path / "d/data/wim-round0").iterdir()] == ["train-00000-of-00001.parquet"]


@pytest.mark.parametrize(
    ("rows_", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1_000, "1K<n<10K"), (99_999, "10K<n<100K"), (1_000_000, "1M<n<10M")],
)
def test_sizes_have_the_hubs_names(rows_: int, name: str) -> None:
    assert size(rows_) == name


def test_an_audit_is_told_on_the_card(copy: Path, publish: Publish) -> None:
    rating = {"agreement": 0.8125, "low": 0.7, "high": 0.9, "ties": 0.01, "uses": ["text", "number"]}
    audit = {
        "pairs": 1234,
        "ratings": {"refined": rating, "mixed:0.3": rating, "chance": rating | {"low": None, "high": None}},
    }
    (copy / "audit.json").write_text(json.dumps(audit))
    assert publish(copy) == 0
    text = card_of(copy / "dataset").text
    assert "wim-round0, on 1,234 pairs of a truth:" in text
    assert "| refined | 81.2% | 70.0% to 90.0% | 1.0% | text, number |" in text
    assert "| chance | 81.2% | - to - |" in text
    assert "mixed:0.3" not in text


def test_a_file_that_is_no_audit_is_one_line(copy: Path, publish: Publish, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "audit.json").write_text('{"pairs": 3}')
    assert publish(copy) == 1
    assert capsys.readouterr().err.endswith(
        "audit.json: is not what `wim audit RUN --truth FILE --json` prints ('ratings')\n"
    )


def test_of_ties_alone_nothing_is_there_to_train_kto_on(wim: Wim, write_jsonl: Any) -> None:
    records = [
        {"prompt": f"Question {i}", "completion": text, "feedback": "x", "rating": 5} for i in range(3) for text in "ab"
    ]
    numbers = ("--set", "rate.method=numerical", "--set", "pair.ties=keep")
    assert wim("build", write_jsonl(records), "--out", "run", *numbers) == 0
    assert wim("publish", "run", "--schema", "unpaired", "--set", "publish.test=0") == 0
    card = card_of(Path("run/dataset"))
    assert [config["config_name"] for config in card.data.configs] == ["ratings"]
    assert "Every pair is a tie, so that no configuration is there to train on." in card.text
    assert 'load_dataset("FOLDER", "ratings", split="train")' in card.text


def test_names_of_arms_mark_up_nothing(copy: Path, wim: Wim) -> None:
    assert wim("pair", copy, "--arm", "<b>a|b</b>\n# x") == 0
    assert wim("publish", copy) == 0
    card = card_of(copy / "dataset")
    assert [config["config_name"] for config in card.data.configs] == ["default", "b-a-b-b-x-round0", "ratings"]
    assert "| b-a-b-b-x-round0 | " in card.text
    assert r"the pairs of &lt;b&gt;a\|b&lt;/b&gt; \# x round 0 |" in card.text
    assert "<b>" not in card.text
