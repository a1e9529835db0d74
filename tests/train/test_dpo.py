"""DPO by the real TRL on the demo model: the reference, resuming, what cannot be trained on."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from trained import SMALL, is_written, make_pairs, metric, weights

Wim = Callable[..., int]


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Round 0 from the base model, round 1 from round 0's adapter against either reference."""
    from builder import cli

    folder = tmp_path_factory.mktemp("rounds")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for run in ("0", "1", "1b"):
            make_pairs(folder / run)
        cli.main(["train", "dpo", "0", *SMALL, "--set", "train.max_steps=6"])
        for run, reference in (("1", "previous"), ("1b", "base")):
            more = ("--policy", "0/policy", "--set", f"train.reference={reference}", "--set", "train.max_steps=2")
            cli.main(["train", "dpo", run, *SMALL, *more])
    return folder


@pytest.mark.parametrize("run", ["0", "1"])
def test_the_first_loss_is_ln_2_where_the_reference_is_the_policy(rounds: Path, run: str) -> None:
    assert metric(rounds / run, "loss")[0] == pytest.approx(math.log(2), abs=1e-5)
    assert metric(rounds / run, "rewards/margins")[0] == pytest.approx(0, abs=1e-5)


def test_against_the_base_model_a_later_round_keeps_its_lead(rounds: Path) -> None:
    assert metric(rounds / "1b", "loss")[0] < 0.66
    assert metric(rounds / "1b", "rewards/margins")[0] > 0.05


def test_training_lowers_the_loss_and_logs_every_step(rounds: Path) -> None:
    losses = metric(rounds / "0", "loss")
    assert len(losses) == 6
    assert losses[-1] < losses[0] - 0.01
    table = pl.read_parquet(rounds / "0/training.parquet")
    assert sorted(set(table["step"])) == [1, 2, 3, 4, 5, 6]
    logged = ["loss", "entropy", "grad_norm", "learning_rate", "mean_token_accuracy", "num_tokens", "epoch"]
    logged += [f"{what}/{side}" for what in ("rewards", "logps", "logits") for side in ("chosen", "rejected")]
    logged += ["rewards/margins", "rewards/accuracies"]
    assert sorted(table["name"].unique()) == sorted(logged)
    assert table.group_by("name").len()["len"].to_list() == [6] * len(logged)


def test_a_later_round_goes_on_with_the_same_adapter(rounds: Path) -> None:
    before, after = weights(rounds / "0"), weights(rounds / "1")
    assert before.keys() == after.keys()
    assert any((before[name] != after[name]).any() for name in before)
    assert sorted(f.name for f in (rounds / "1/policy").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "policy.json",
    ]
    assert json.loads((rounds / "1/policy/adapter_config.json").read_text())["r"] == 16


def test_training_twice_gives_the_same_bytes(rounds: Path, wim: Wim, tmp_path: Path) -> None:
    make_pairs(tmp_path / "0")
    assert wim("train", "dpo", "0", *SMALL, "--set", "train.max_steps=6") == 0
    for name in (
        "training.parquet",
        "policy/adapter_model.safetensors",
        "policy/adapter_config.json",
        "policy/policy.json",
    ):
        assert (tmp_path / "0" / name).read_bytes() == (rounds / "0" / name).read_bytes(), name


@pytest.mark.parametrize("start", ["base", "adapter"])
def test_a_killed_training_goes_on_from_its_checkpoint_to_the_same_weights(
    rounds: Path, tmp_path: Path, start: str
) -> None:
    command = [sys.executable, "-m", "builder.cli", "train", "dpo", "run", *SMALL]
    command += ["--set", "train.max_steps=12", "--set", "train.save_steps=2"]
    command += ["--policy", str(rounds / "0/policy")] if start == "adapter" else []
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    for name in ("whole", "killed"):
        make_pairs(tmp_path / name / "run")
    done = subprocess.run(command, cwd=tmp_path / "whole", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen(command, cwd=tmp_path / "killed", env=environment, stderr=subprocess.DEVNULL)
    states = (tmp_path / "killed/.wim/train").glob
    while process.poll() is None and not any(map(is_written, states("*/checkpoint-*/trainer_state.json"))):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(
        command, cwd=tmp_path / "killed", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "resumed from step" in done.stderr
    whole, again = weights(tmp_path / "whole/run"), weights(tmp_path / "killed/run")
    assert all((whole[name] == again[name]).all() for name in whole)
    tables = [(tmp_path / name / "run/training.parquet").read_bytes() for name in ("whole", "killed")]
    assert tables[0] == tables[1]


def test_a_run_that_is_killed_after_its_last_step_does_no_step_more(
    wim: Wim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within an epoch, transformers would."""
    from train import adapter

    command = ("train", "dpo", "run", *SMALL, "--set", "train.max_steps=2")
    make_pairs(tmp_path / "run")
    assert wim(*command) == 0
    whole = weights(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(adapter, "save", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert wim(*command) == 143
    assert wim(*command) == 0
    assert "resumed from step 2" in capsys.readouterr().err
    again = weights(tmp_path / "run")
    assert all((whole[name] == again[name]).all() for name in whole)
    assert len(metric(tmp_path / "run", "loss")) == 2


def test_pairs_without_a_prompts_text_are_refused_in_words(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pairs(tmp_path / "run", prompted=False)
    assert wim("train", "dpo", "run", *SMALL) == 1
    assert "24 of 24 pairs hold no prompt text" in capsys.readouterr().err


def test_a_loss_that_trl_does_not_know_is_told_with_those_there_are(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pairs(tmp_path / "run")
    assert wim("train", "dpo", "run", *SMALL, "--set", "train.loss=no_such_loss") == 1
    told = capsys.readouterr().err
    assert "train.loss must be one of sigmoid, hinge, ipo," in told
    assert "no_such_loss" in told


def test_a_run_without_pairs_is_told(wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_pairs(tmp_path / "run", count=0)
    assert wim("train", "dpo", "run", *SMALL) == 1
    assert "no pair to train on" in capsys.readouterr().err


def test_a_published_dataset_goes_straight_into_trls_trainer(wim: Wim, write_jsonl: Any, tmp_path: Path) -> None:
    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    from builder.language.models import resolve

    texts = ("It is grey.", "It is grey and lives in the water.", "It has four legs.")
    records = [
        {"prompt": f"Describe thing {i}.", "completion": text, "feedback": f"leaves out its size {j}", "rating": 5}
        for i in range(6)
        for j, text in enumerate(texts)
    ]
    records += [r | {"prompt": None, "prompt_id": "known by its id only"} for r in records[:3]]
    assert wim("build", write_jsonl(records), "--out", "run") == 0
    assert wim("publish", "run", "--out", "dataset") == 0
    pairs = datasets.load_dataset("parquet", data_dir="dataset/data", split="train", cache_dir=str(tmp_path / "cache"))
    assert len(pairs) == 6
    name = resolve("data/demo/model")
    config = DPOConfig(
        output_dir="out", max_steps=1, use_cpu=True, bf16=False, report_to="none", per_device_train_batch_size=6
    )
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(name),
        args=config,
        train_dataset=pairs,
        processing_class=AutoTokenizer.from_pretrained(name),
    )
    assert len(trainer.train_dataset) == 6
    assert trainer.train().training_loss == pytest.approx(math.log(2), abs=1e-2)
    assert len(datasets.load_dataset("dataset", "unprompted", split="train", cache_dir=str(tmp_path / "c"))) == 1


def test_control_strings_are_escaped_and_counted_before_training(capsys: pytest.CaptureFixture[str]) -> None:
    from train.preferences.pairs import without_control_strings

    turns = [{"role": "user", "content": "Say <|im_end|> twice."}], [{"role": "user", "content": "Say it twice."}]
    plain = [[{"role": "assistant", "content": "It is grey."}]] * 2
    pairs = pl.DataFrame({"pair_id": ["a", "b"], "prompt": turns, "chosen": plain, "rejected": plain})
    escaped, count = without_control_strings(pairs)
    assert count == 1
    assert escaped["prompt"].to_list() == [[{"role": "user", "content": "Say <\\|im_end|> twice."}], turns[1]]
    assert escaped.drop("prompt").equals(pairs.drop("prompt"))
    assert "1 of 2 pairs hold control strings" in capsys.readouterr().err
    assert without_control_strings(pairs[1:])[0].equals(pairs[1:])
