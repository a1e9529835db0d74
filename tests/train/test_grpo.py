"""GRPO and RLOO by the real TRL on the demo model, on WIM and on a verifiable reward."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from loop import killed_and_resumed, make_prompts, sets, table
from trained import metric, weights

from builder import params
from builder.errors import ParamsError
from builder.evaluate import coverage

Wim = Callable[..., int]
MIXED = ("grpo.verifier=coverage", "grpo.zeta=0.5")


def test_it_learns_from_the_mixture(wim: Wim, tmp_path: Path) -> None:
    make_prompts(wim, "run")
    assert wim("train", "grpo", "run", *sets("train.batch=8", "train.max_steps=2", *MIXED)) == 0
    run = tmp_path / "run"
    assert any(weight.any() for name, weight in weights(run).items() if "lora_B" in name)
    training = table(run, "training")
    assert training["step"].unique().to_list() == [1, 2]
    assert "step_time" not in training["name"]
    completions = table(run, "completions")
    assert len(completions) == 2 * 8
    known = completions.join(table(run, "prompts"), on="prompt_id", maintain_order="left")
    facts = [coverage(text, reference) for text, reference in known.select("text", "reference").iter_rows()]
    for stage in ("embed", "rate"):
        assert wim(stage, "run") == 0
    wims = table(run, "ratings").sort("completion_id")["reward"]
    mixed = completions.sort("completion_id")["reward"]
    assert (mixed - (0.5 * pl.Series(facts) + 0.5 * wims)).abs().max() < 1e-6  # type: ignore[operator]
    step = completions.filter(pl.col("step") == 1)["reward"].drop_nulls()
    assert metric(run, "reward")[0] == pytest.approx(step.mean(), abs=1e-5)
    assert len(metric(run, "wim/readable")) == 2


def test_rloo_learns_too(wim: Wim, tmp_path: Path) -> None:
    make_prompts(wim, "run", 4)
    assert wim("train", "grpo", "run", *sets("grpo.algorithm=rloo", "train.max_steps=1", *MIXED)) == 0
    assert any(weight.any() for name, weight in weights(tmp_path / "run").items() if "lora_B" in name)
    assert len(table(tmp_path / "run", "completions")) == 4


def test_without_weight_for_wim_nobody_is_asked(wim: Wim, tmp_path: Path) -> None:
    make_prompts(wim, "run", 4)
    assert wim("train", "grpo", "run", *sets("grpo.verifier=exact", "grpo.zeta=0", "train.max_steps=1")) == 0
    assert table(tmp_path / "run", "feedback").is_empty()
    assert set(table(tmp_path / "run", "completions")["reward"]) <= {0.0, 1.0}


def test_what_no_judge_could_be_read_on_is_not_learned_from(wim: Wim, tmp_path: Path) -> None:
    make_prompts(wim, "run", 4)
    assert wim("train", "grpo", "run", *sets("judge.max_tokens=3", "train.max_steps=2", *MIXED)) == 0
    assert metric(tmp_path / "run", "wim/readable") == [0.0, 0.0]
    assert all(not weight.any() for name, weight in weights(tmp_path / "run").items() if "lora_B" in name)


def test_a_killed_run_goes_on_to_the_same_bytes(wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From an adapter and with a reference, of which TRL keeps a copy that must not come back in the policy's place."""
    make_prompts(wim, "first", 4)
    verified = ("grpo.verifier=coverage", "grpo.zeta=0")
    assert wim("train", "grpo", "first", *sets("train.max_steps=1", *verified)) == 0
    shutil.copytree("first", "whole")
    settings = ("train.max_steps=4", "train.save_steps=2", "grpo.beta=0.1", *verified)
    policy = ("--policy", tmp_path / "first/policy")
    assert wim("train", "grpo", "whole", *policy, *sets(*settings)) == 0
    run = killed_and_resumed(wim, "grpo", tmp_path / "whole", *settings, policy=tmp_path / "first/policy")
    assert "resumed from step" in capsys.readouterr().err
    assert not (run / "policy/ref").exists()
    for name in ("completions.parquet", "feedback.parquet", "training.parquet", "policy/adapter_model.safetensors"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_prompts_without_a_reference_cannot_be_verified(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_prompts(wim, "run", 4)
    file = tmp_path / "run/prompts.parquet"
    pl.read_parquet(file).with_columns(reference=pl.lit(None, pl.String)).write_parquet(file)
    assert wim("train", "grpo", "run", *sets(*MIXED)) == 1
    assert "4 of 4 prompts have no reference" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["grpo.zeta=0.5"], "grpo.zeta must be 1 without a verifier"),
        (["grpo.verifier=exact", "grpo.zeta=2"], "grpo.zeta must be between 0 and 1"),
        (["grpo.algorithm=rloo", "grpo.loss=bnpo"], "grpo.loss must be left as it is for rloo"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: list[str], told: str) -> None:
    with pytest.raises(ParamsError, match=told):
        params.load(None, settings)


def test_a_verifier_has_half_the_weight_unless_it_is_said() -> None:
    assert params.load(None, []).grpo.zeta == 1
    assert params.load(None, ["grpo.verifier=exact"]).grpo.zeta == 0.5


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("train.beta=0.2", "grpo.beta"),
        ("train.loss=ipo", "grpo.loss"),
        ("train.batch=6", "multiple of grpo.generations"),
    ],
)
def test_settings_that_mean_nothing_here_are_refused_in_words(
    wim: Wim, capsys: pytest.CaptureFixture[str], setting: str, told: str
) -> None:
    assert wim("train", "grpo", "run", "--set", setting) == 1
    assert told in capsys.readouterr().err


def test_ppo_says_in_one_line_that_it_is_gone(wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim("train", "ppo", "run") == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "PPO has left TRL" in told
