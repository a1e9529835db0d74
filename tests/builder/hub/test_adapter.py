"""An adapter and its model card, as a folder."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, ModelCardData
from published import Publish

from builder import tables
from builder.language import policy
from builder.language.policy import Policy


def test_the_card_names_base_dataset_and_parameters(
    trained: Path, publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = (
        "--set",
        "publish.base_model=me/tiny",
        "--set",
        "publish.repo=me/facts-{arm}",
        "--set",
        "publish.license=mit",
    )
    assert publish(trained, "--adapter", "--repo", "me/tiny-wim", "--out", tmp_path / "a", *sets) == 0
    card = ModelCard.load(tmp_path / "a/README.md")
    assert isinstance(card.data, ModelCardData)
    assert (card.data.base_model, card.data.datasets, card.data.license) == ("me/tiny", ["me/facts-wim"], "mit")
    assert card.data.tags == ["lora", "dpo", "trl", "what-is-missing"]
    assert (card.data.library_name, card.data.pipeline_tag) == ("peft", "text-generation")
    about = tables.read_metadata(trained / "training.parquet")
    assert f"| trained on | `me/facts-wim`, wim round 0 (pairs {about['inputs']['pairs']}) |" in card.text
    assert f"| trained from | the policy {about['start']['hash']} |" in card.text
    assert "| steps | 2 |" in card.text
    for said in (
        "By DPO, in trl ",
        "beta: 0.1",
        "max_steps: 2",
        "You review the answer",
        'from_pretrained("me/tiny-wim")',
    ):
        assert said in card.text
    assert "nobody else can load" not in capsys.readouterr().out


def test_the_adapter_loads_and_names_its_base(trained: Path, publish: Publish, tmp_path: Path) -> None:
    from peft import PeftConfig, PeftModel
    from transformers import AutoModelForCausalLM

    from builder.language.models import resolve

    assert publish(trained, "--adapter", "--out", tmp_path / "a", "--set", "publish.base_model=me/tiny") == 0
    config = PeftConfig.from_pretrained(str(tmp_path / "a"))
    assert (config.base_model_name_or_path, config.r) == ("me/tiny", 16)
    model = AutoModelForCausalLM.from_pretrained(resolve("data/demo/model"))
    assert PeftModel.from_pretrained(model, str(tmp_path / "a")).peft_config["default"].r == 16


def test_of_a_base_model_in_a_folder_only_its_name_is_told(
    trained: Path, publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(trained, "--adapter", "--out", tmp_path / "a") == 0
    config = json.loads((tmp_path / "a/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "model"
    assert ModelCard.load(tmp_path / "a/README.md").data.base_model is None
    assert (
        "the base model model is a folder of this machine: nobody else can load the adapter" in capsys.readouterr().out
    )


def test_a_run_without_an_adapter_is_one_line(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish("runs/wim/1", "--adapter", "--out", tmp_path / "a") == 1
    assert "policy: no policy.json" in capsys.readouterr().err
    policy.write(tmp_path / "run/policy", Policy("data/demo/model"))
    assert publish(tmp_path / "run", "--adapter", "--out", tmp_path / "a") == 1
    assert capsys.readouterr().err.endswith("policy: is the base model itself, without an adapter to publish\n")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("more", [("runs/wim/1",), ("--schema", "unpaired")])
def test_an_adapter_is_of_one_run(more: tuple[str, ...], publish: Publish, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish("runs/wim/0", *more, "--adapter") == 2
    assert capsys.readouterr().err == "wim: --adapter publishes the adapter of one run, and has no --schema\n"
