"""What a reward model is used for: as a rating, as the reward of GRPO and RLOO, to pick the best of several."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from loop import killed_and_resumed, make_prompts, table
from loop import sets as tiny
from rewarded import paired, sets
from trained import metric, weights

from builder import params, sources, tables
from builder.errors import ParamsError
from builder.evaluate import coverage
from builder.reward_model import model as scoring
from builder.reward_model import scores

Wim = Callable[..., int]
LONG: list[Any] = [{"role": "user", "content": "Why? " * 2000}]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model of the demo's model, trained for some steps; not to be changed."""
    from builder import cli

    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        paired(folder / "run")
        cli.main(["train", "reward", "run", *sets("reward.loss=ordinal_nll", "train.max_steps=10")])
    return folder / "run/reward"


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "model")


@pytest.fixture
def run(wim: Wim, write_jsonl: Callable[..., Path]) -> Path:
    """Two prompts with three completions, of which one is empty, and a prompt that no model can read."""
    said = [
        {"prompt": f"Describe the {thing}.", "completion": f"It is {how}."}
        for thing in ("lamp", "cup")
        for how in ("small", "grey and lives in the water", "made of moss and has four legs")
    ]
    said += [{"prompt": "Describe the cup.", "completion": " "}, {"prompt": LONG, "completion": "So."}]
    told = [each | {"feedback": "It leaves out its size.", "rating": 5} for each in said]
    assert wim("ingest", write_jsonl(told), "--out", "judged") == 0
    assert wim("embed", "judged") == 0
    return Path("judged")


def by(folder: Path) -> list[str]:
    return ["--set", "rate.method=reward_model", "--set", f"rate.reward_model={folder}"]


def gave(folder: Path, messages: Any, texts: list[str]) -> list[float | None]:
    return scores.Scorer(folder, params.load(None))([(messages, text) for text in texts])


def test_as_a_rating_it_orders_a_prompts_completions_and_pairs_are_the_best_and_the_worst(
    wim: Wim, run: Path, model: Path
) -> None:
    assert wim("rate", run, *by(model)) == 0
    rated = pl.read_parquet(run / "ratings.parquet")
    assert sorted(rated["reason"].drop_nulls()) == ["empty_completion", "too_long"]
    told = pl.read_parquet(run / "prompts.parquet").join(pl.read_parquet(run / "completions.parquet"), on="prompt_id")
    own = {name: gave(model, turns, [text])[0] for name, turns, text in
           told.select("completion_id", "messages", "text").iter_rows() if text.strip()}  # fmt: skip
    for name, reward in rated.select("completion_id", "reward").drop_nulls().iter_rows():
        assert reward == own[name]
    assert rated["reward"].drop_nulls().n_unique() == 6
    assert wim("pair", run, *by(model)) == 0
    pairs = pl.read_parquet(run / "pairs.parquet")
    assert len(pairs) == 2
    best = rated.group_by("prompt_id").agg(pl.col("reward").max()).drop_nulls()
    assert sorted(pairs["score_chosen"]) == sorted(best["reward"])


def test_a_rating_is_told_by_its_models_content_and_not_by_its_folder(wim: Wim, run: Path, model: Path) -> None:
    assert wim("rate", run, *by(model)) == 0
    first = (run / "ratings.parquet").read_bytes()
    about = tables.read_metadata(run / "ratings.parquet")
    assert about["asked"]["reward_model"]["policy"]["loss"] == "ordinal_nll"
    assert "reward_model" not in about["params"]["rate"]
    shutil.move(model, model.with_name("elsewhere"))
    assert wim("rate", run, *by(model.with_name("elsewhere"))) == 0
    assert (run / "ratings.parquet").read_bytes() == first


def test_what_is_kept_loads_no_model_and_a_batch_changes_no_number(
    wim: Wim, run: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wim("rate", run, *by(model)) == 0
    first = (run / "ratings.parquet").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "load", lambda *_: pytest.fail("a model is loaded"))
        assert wim("rate", run, *by(model)) == 0
    shutil.rmtree(".wim/rate")
    assert wim("rate", run, *by(model), "--set", "engine.transformers.batch_size=1") == 0
    assert (run / "ratings.parquet").read_bytes() == first


def test_without_a_model_or_with_half_of_one_it_is_told(
    wim: Wim, run: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wim("rate", run, "--set", "rate.method=reward_model") == 1
    assert "`wim train reward RUN` writes one" in capsys.readouterr().err
    assert wim("rate", run, *by(tmp_path)) == 1
    assert "no reward.json: not a reward model" in capsys.readouterr().err
    (model / "adapter_model.safetensors").write_bytes(b"half")
    assert wim("rate", run, *by(model)) == 1
    assert f"{model}: does not fit its base model: " in capsys.readouterr().err


@pytest.mark.parametrize("algorithm", ["grpo", "rloo"])
def test_it_is_the_reward_in_the_loop_mixed_with_a_verifier_and_nobody_is_asked(
    wim: Wim, model: Path, tmp_path: Path, algorithm: str
) -> None:
    make_prompts(wim, "run", 4)
    mixed = ("grpo.verifier=coverage", "grpo.zeta=0.25", "judge.model=none/such", "train.max_steps=2")
    words = tiny("grpo.reward=reward_model", f"rate.reward_model={model}", f"grpo.algorithm={algorithm}", *mixed)
    assert wim("train", "grpo", "run", *words) == 0
    run = tmp_path / "run"
    assert any(weight.any() for name, weight in weights(run).items() if "lora_B" in name)
    assert table(run, "feedback").is_empty()
    completions = table(run, "completions").join(table(run, "prompts"), on="prompt_id", maintain_order="left")
    columns = completions.select("messages", "text", "reference", "reward")
    for messages, text, reference, reward in columns.iter_rows():
        [own] = gave(model, messages, [text])
        assert own is not None
        assert reward == pytest.approx(0.75 * coverage(text, reference) + 0.25 * own)
    assert metric(run, "reward_model/readable") == [1.0, 1.0]
    about = tables.read_metadata(run / "training.parquet")
    assert about["reward_model"]["policy"]["loss"] == "ordinal_nll"
    assert "judge" not in about
    assert str(model) not in str(about)


def test_it_goes_into_somebodys_own_script(model: Path) -> None:
    from train import wim_reward

    reward = wim_reward(None, ["grpo.reward=reward_model", f"rate.reward_model={model}", "judge.model=none/such"])
    asked, texts = "Describe the lamp.", ["It is small.", " ", "It is grey."]
    found = reward([asked] * 3, texts)
    assert found[1] is None
    assert found[::2] == gave(model, [{"role": "user", "content": asked}], texts[::2])
    assert found[0] != found[2]


def test_a_killed_run_by_a_reward_model_goes_on_to_the_same_bytes(wim: Wim, model: Path, tmp_path: Path) -> None:
    make_prompts(wim, "whole", 4)
    settings = ("grpo.reward=reward_model", f"rate.reward_model={model}", "train.max_steps=4", "train.save_steps=2")
    assert wim("train", "grpo", "whole", *tiny(*settings)) == 0
    run = killed_and_resumed(wim, "grpo", tmp_path / "whole", *settings)
    for name in ("completions.parquet", "training.parquet", "policy/adapter_model.safetensors"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_reward_model_that_is_not_named_is_told_before_anything_is_loaded(
    wim: Wim, capsys: pytest.CaptureFixture[str]
) -> None:
    make_prompts(wim, "run", 2)
    assert wim("train", "grpo", "run", *tiny("grpo.reward=reward_model")) == 1
    assert "rate.reward_model: name the folder" in capsys.readouterr().err


def test_the_best_of_several_is_the_one_of_the_highest_reward(wim: Wim, model: Path, tmp_path: Path) -> None:
    assert wim("prompts", "run", "--set", "prompts.limit=2") == 0
    held = pl.read_parquet("run/heldout.parquet").head(6)
    tables.write(tmp_path / "run/heldout.parquet", "heldout", held, {})
    several = ("--set", "evaluate.n=3", "--set", f"evaluate.best_by={model}", "--set", "evaluate.max_tokens=40")
    assert wim("evaluate", "run", *several) == 0
    found, summary = pl.read_parquet("run/evaluation.parquet"), tables.read_json(tmp_path / "run/evaluation.json")
    assert found["value"].to_list() == found["base_value"].to_list()  # the run has no policy: it is the base model
    for row, messages in zip(found.to_dicts(), held.sort("prompt_id")["messages"], strict=True):
        assert gave(model, messages, [row["text"]]) == [row["reward"]]
    choice = summary["choice"]
    assert choice["difference"] == pytest.approx(summary["mean"] - choice["mean"])
    assert choice["difference_low"] <= choice["difference"] <= choice["difference_high"]
    assert (found["value"] - found["drawn"]).abs().max() > 0  # type: ignore[operator]
    about = tables.read_metadata(tmp_path / "run/evaluation.parquet")
    assert about["params"]["evaluate"] == {"max_tokens": 40, "n": 3, "temperature": 0.9}
    assert str(model) not in str(about)


def test_the_best_is_the_largest_of_all_that_were_drawn(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from builder import best_of
    from builder.language import policy

    monkeypatch.chdir(tmp_path)
    given = params.load(None, ["evaluate.n=4", f"evaluate.best_by={model}", "evaluate.max_tokens=24"])
    turns = [[{"role": "user", "content": f"Describe the {thing}."}] for thing in ("lamp", "cup")]
    prompts = pl.DataFrame({"prompt_id": ["a", "b"], "messages": turns})
    base = policy.base(given.model)
    made = best_of.best_of(prompts, base, given, sources.source(given, [base]))
    for messages, text, reward, drawn in zip(prompts["messages"], *made.iter_columns(), strict=True):
        rewards = gave(model, messages, drawn.to_list())
        assert reward == max(each for each in rewards if each is not None)
        assert text == drawn[rewards.index(reward)]
        assert drawn.n_unique() > 1


def test_an_empty_completion_is_never_the_best() -> None:
    from builder import best_of

    found = best_of.counting(np.array([1.0, 3.0, 2.0, np.nan]), ["It is grey.", " \n", "It is small.", "It is"])
    assert found[[0, 2]].tolist() == [1.0, 2.0]
    assert np.isnan(found[[1, 3]]).all()
    assert len(best_of.counting(np.empty(0), [])) == 0


@pytest.mark.parametrize("settings", [["evaluate.n=2"], ["evaluate.best_by=x"], ["evaluate.n=0"]])
def test_several_and_who_chooses_go_together(settings: list[str]) -> None:
    with pytest.raises(ParamsError, match=r"evaluate\.(best_by must be a reward model's folder|n must be between)"):
        params.load(None, settings)
