"""`wim train reward` by the real TRL on the demo model: every loss, what is written, resuming, what is refused."""

import json
import math
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from loop import killed
from rewarded import make_run, paired, sets
from safetensors.torch import load_file

from builder import params, tables
from builder.errors import ParamsError, TableError
from builder.language import policy
from builder.reward_model import model as scoring
from builder.reward_model import stored
from builder.reward_model.tokens import encode

Wim = Callable[..., int]
LOSSES = ("bradley_terry", "margin", "ordinal_nll", "all_threshold", "listwise")
ORDINAL = ("ordinal_nll", "all_threshold")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with pairs; not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        paired(folder / "run")
    return folder / "run"


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture(scope="module")
def trained(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A reward model by each loss, three steps each."""
    from builder import cli

    made = {}
    for loss in LOSSES:
        run = shutil.copytree(whole, tmp_path_factory.mktemp(loss) / "run")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(run.parent)
            cli.main(["train", "reward", "run", *sets(f"reward.loss={loss}")])
        made[loss] = run / "reward"
    return made


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = tables.read_json(folder / "metrics.json")
    return found


def logged(folder: Path, name: str) -> list[float]:
    return pl.read_parquet(folder / "training.parquet").filter(pl.col("name") == name).sort("step")["value"].to_list()


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_learns_and_is_measured_on_prompts_held_out(trained: dict[str, Path], loss: str) -> None:
    folder = trained[loss]
    files = ["adapter_config.json", "adapter_model.safetensors", "metrics.json", "reward.json", "training.parquet"]
    assert sorted(file.name for file in folder.iterdir()) == files
    assert any(
        weight.any() for name, weight in load_file(folder / "adapter_model.safetensors").items() if "lora_B" in name
    )
    assert len(logged(folder, "loss")) == 3
    names = set(pl.read_parquet(folder / "training.parquet")["name"])
    assert {"accuracy", "margin", "mean_reward", "num_tokens", "grad_norm", "learning_rate"} <= names
    found = metrics(folder)
    assert 0 <= found["accuracy"] <= 1
    assert 0 <= found["calibration_error"] <= 1
    assert min(found["loss"], found["nll"]) > 0
    assert ("thresholds" in found) == (loss in ORDINAL)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_first_loss_is_that_of_no_preference(trained: dict[str, Path], loss: str) -> None:
    first, entropy = logged(trained[loss], "loss")[0], math.log(5)
    least, most = {
        "bradley_terry": (math.log(2), math.log(2)),
        "margin": (math.log(2), 1.2),  # the margin stands against it
        "ordinal_nll": (0.5 * entropy, 2 * entropy),
        "all_threshold": (1.0, 4.0),
        "listwise": (math.log(2), math.log(3)),
    }[loss]
    assert least - 1e-6 <= first <= most + 1e-6


def test_the_same_prompts_are_held_out_whatever_the_loss(trained: dict[str, Path], whole: Path) -> None:
    held = {metrics(folder)["pairs_held_out"] for folder in trained.values()}
    assert len(held) == 1
    assert 0 < held.pop() < len(pl.read_parquet(whole / "pairs.parquet"))


@pytest.mark.parametrize("loss", ORDINAL)
def test_thresholds_come_back_when_it_is_loaded(trained: dict[str, Path], loss: str) -> None:
    _, model, kept = scoring.load(trained[loss], "float32")
    thresholds = scoring.head(model).thresholds
    assert thresholds is not None
    assert tuple(thresholds().tolist()) == kept.thresholds == tuple(metrics(trained[loss])["thresholds"])
    assert kept.grades == 5
    assert kept.cuts is not None
    assert list(kept.cuts) == sorted(kept.cuts)
    begun = scoring.build(kept.model, None, "float32", grades=5)[1].score.thresholds()
    assert (begun - thresholds()).abs().max() > 1e-3


def test_what_it_gives_is_that_of_transformers_own_model(trained: dict[str, Path]) -> None:
    """Loaded with PEFT alone, as somebody else would: a head of one number is an ordinary one."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    from builder.language.models import resolve

    tokenizer, ours, _ = scoring.load(trained["bradley_terry"], "float32")
    base = AutoModelForSequenceClassification.from_pretrained(resolve("data/demo/model"), num_labels=1)
    theirs = PeftModel.from_pretrained(base, str(trained["bradley_terry"])).eval()
    told = [[{"role": "user", "content": "Describe the thing."}]] * 2
    texts = ["It is grey.", "It is grey. It has four legs. It lives in the water."]
    found = scoring.of_tokens(ours, [encode(tokenizer, m, t, 256) for m, t in zip(told, texts, strict=True)], 2).reward  # type: ignore[arg-type]
    for messages, text, reward in zip(told, texts, found.tolist(), strict=True):
        turns = [*messages, {"role": "assistant", "content": text}]
        ids = tokenizer.apply_chat_template(turns, return_dict=True, return_tensors="pt")
        assert theirs(**ids).logits.item() == pytest.approx(reward, abs=1e-5)


@pytest.mark.parametrize("loss", ["bradley_terry", "margin"])
def test_the_loss_is_that_of_trls_own_trainer(
    loss: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl import RewardTrainer
    from trl.trainer.reward_trainer import DataCollatorForPreference

    from train import arguments
    from train.reward_model import assemble, examples, targets, texts
    from train.reward_model.collator import collate

    monkeypatch.chdir(tmp_path)
    given = params.load(None, [s for s in sets(f"reward.loss={loss}") if s != "--set"])
    arguments.prepare(given)
    tokenizer, model = assemble.load(policy.base(given.model), given, 0)
    torch.nn.init.normal_(model.score.weight, std=0.1)
    pairs = tables.read(whole / "pairs.parquet", "pairs")
    tokens, _ = texts.encoded(texts.of_pairs(pairs), tokenizer, 1024, given.train)
    told = targets.Targets.of(pairs, [], whole, given.reward)
    made = examples.tokenized(examples.of_pairs(pairs, told.values), tokens)
    trainer = assemble.assemble(made, tokenizer, model, given, tmp_path / "work", tmp_path)
    batch = made.head(4).to_dicts()
    ours = trainer.compute_loss(trainer.model, collate(batch)).item()
    rows = [{"chosen_ids": each["chosen_ids"][0], "rejected_ids": each["rejected_ids"][0]} for each in batch]
    if loss == "margin":
        rows = [row | {"margin": each["target"]} for row, each in zip(rows, batch, strict=True)]
    collated = DataCollatorForPreference(tokenizer.pad_token_id)(rows)
    theirs = RewardTrainer.compute_loss(trainer, trainer.model, dict(collated)).item()
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert abs(ours - math.log(2)) > 1e-3
    a, b = (trainer._metrics["train"][name] for name in ("accuracy", "margin"))
    assert (a[0], b[0]) == (pytest.approx(a[1]), pytest.approx(b[1], abs=1e-5))


def test_a_killed_training_goes_on_to_the_same_bytes_thresholds_included(
    wim: Wim, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = sets("reward.loss=ordinal_nll", "train.max_steps=8", "train.save_steps=2", "reward.heads=aspects")
    for name in ("run", "killed"):
        shutil.copytree(whole, tmp_path / name)
    assert wim("train", "reward", "run", *words) == 0
    killed(["train", "reward", "killed", *words])
    assert not (tmp_path / "killed/reward").exists()
    assert wim("train", "reward", "killed", *words) == 0
    assert "resumed from step" in capsys.readouterr().err
    for file in (tmp_path / "run/reward").iterdir():
        assert (tmp_path / "killed/reward" / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_run_that_is_killed_after_its_last_step_does_no_step_more(
    wim: Wim, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from train import adapter

    words = ("train", "reward", "run", *sets("reward.loss=all_threshold"))
    assert wim(*words) == 0
    whole = load_file(run / "reward/adapter_model.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(adapter, "write", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert wim(*words) == 143
    assert wim(*words) == 0
    assert "resumed from step 3" in capsys.readouterr().err
    again = load_file(run / "reward/adapter_model.safetensors")
    assert all((whole[name] == again[name]).all() for name in whole)


def test_the_thresholds_learn_at_a_rate_of_their_own(wim: Wim, run: Path) -> None:
    moved = {}
    for rate in ("1e-9", "0.5"):
        words = sets("reward.loss=ordinal_nll", f"reward.threshold_learning_rate={rate}", "train.max_steps=2")
        assert wim("train", "reward", "run", *words) == 0
        moved[rate] = metrics(run / "reward")["thresholds"][-1]
    assert abs(moved["0.5"] - moved["1e-9"]) > 0.1


def test_a_head_for_each_aspect_is_weighed_by_a_gate(wim: Wim, run: Path) -> None:
    assert wim("train", "reward", "run", *sets("reward.heads=aspects", "train.max_steps=20")) == 0
    kept, found = stored.read(run / "reward"), metrics(run / "reward")
    assert kept.aspects == ("brevity", "coverage")
    assert kept.mean[1] == pytest.approx(2.5, abs=0.3)
    assert set(found["aspects"]) == set(kept.aspects)
    assert sum(each["weight"] for each in found["aspects"].values()) == pytest.approx(1, abs=0.2)
    errors = logged(run / "reward", "aspects/mse")
    assert errors[-1] < errors[0]
    tokenizer, model, _ = scoring.load(run / "reward", "float32")
    rows = [encode(tokenizer, [{"role": "user", "content": "Describe the thing."}], t, 9) for t in ("It is grey.", "x")]
    gave = scoring.of_tokens(model, rows, 2)
    assert gave.aspects is not None
    assert gave.weights is not None
    assert torch.allclose((gave.aspects * gave.weights).sum(1), gave.reward)
    assert torch.allclose(gave.weights[0], gave.weights[1])  # by the prompt alone


def test_the_head_alone_can_be_trained(wim: Wim, run: Path) -> None:
    assert wim("train", "reward", "run", *sets("reward.tune=head", "reward.loss=ordinal_nll")) == 0
    names = set(load_file(run / "reward/adapter_model.safetensors"))
    assert names == {"base_model.model.score.weight", "base_model.model.score.thresholds.gaps"}
    assert scoring.load(run / "reward", "float32")[2].thresholds


@pytest.mark.parametrize(("source", "cuts"), [("delta", True), ("comparisons", False), ("liked", False)])
def test_grades_come_from_delta_from_pair_judges_or_from_a_column(wim: Wim, run: Path, source: str, cuts: bool) -> None:
    pairs = tables.read(run / "pairs.parquet", "pairs")
    liked = pl.Series("liked", [-1.0, 0.0, 1.0, 2.0, None] * len(pairs))[: len(pairs)]
    tables.write(run / "pairs.parquet", "pairs", pairs.with_columns(liked), {})
    assert wim("train", "reward", "run", *sets("reward.loss=ordinal_nll", f"reward.grades_from={source}")) == 0
    kept = stored.read(run / "reward")
    assert kept.grades_from == source
    assert (kept.cuts is not None) == cuts


def test_nothing_is_held_out_where_nothing_is_asked_to_be(wim: Wim, run: Path) -> None:
    assert wim("train", "reward", "run", *sets("reward.held_out=0", "train.max_steps=1")) == 0
    found = metrics(run / "reward")
    assert (found["pairs_held_out"], found["loss"], found["accuracy"]) == (0, None, None)


def test_long_texts_are_cut_or_left_out_and_counted(wim: Wim, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim("train", "reward", "run", *sets("train.max_completion=8", "train.max_steps=1"), "--json") == 0
    output = capsys.readouterr()
    made = json.loads(output.out)
    assert made["cut"] > 0
    assert "are longer than train.max_completion (8 tokens)" in output.err
    assert stored.read(run / "reward").max_completion == 8
    assert wim("train", "reward", "run", *sets("train.max_prompt=2")) == 1
    assert "prompts longer than 2 tokens" in capsys.readouterr().err


@pytest.mark.parametrize(("delta", "min_gap"), [(0.0, 0.0), (0.1, 0.1)])
def test_ties_are_alike_for_grades_and_no_preference_otherwise(
    wim: Wim, run: Path, capsys: pytest.CaptureFixture[str], delta: float, min_gap: float
) -> None:
    pairs = tables.read(run / "pairs.parquet", "pairs")
    tied = pairs.with_columns(pl.when(pl.int_range(pl.len()) % 4 == 0).then(delta).otherwise("delta").alias("delta"))
    tables.write(run / "pairs.parquet", "pairs", tied, {})
    for loss, untold in (("bradley_terry", -(-len(pairs) // 4)), ("ordinal_nll", 0)):
        words = sets(f"reward.loss={loss}", "train.max_steps=1", f"pair.min_gap={min_gap}")
        assert wim("train", "reward", "run", *words, "--json") == 0
        assert json.loads(capsys.readouterr().out)["untold"] == untold


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["train.loss=hinge"], "train.loss: 'hinge' has no meaning for train reward; see reward.loss"),
        (["train.beta=0.2"], "there is no reference model"),
        (["train.launch.processes=2"], "it is one process"),
        (["reward.grades_from=liked"], "reward.grades_from must be left as it is for the loss bradley_terry"),
        (["reward.loss=ordinal_nll", "reward.grades_from=liked"], "has no column 'liked'"),
        (["reward.loss=ordinal_nll", "reward.grades_from=prompt"], "column 'prompt': holds no number"),
        (["reward.loss=ordinal_nll", "reward.grades=7", "reward.grades_from=comparisons"], "set reward.grades to 5"),
        (["reward.held_out=0.999999"], "nothing is left to learn from"),
        (["reward.held_out=0.999999", "reward.loss=ordinal_nll"], "nothing is left to learn from"),
        (["train.max_prompt=2", "reward.loss=all_threshold"], "nothing is left to learn from"),
        (["reward.loss=ordinal_nll", "reward.grades=99"], "do not come in 99 grades"),
    ],
)
def test_what_cannot_be_done_is_told(
    wim: Wim, run: Path, capsys: pytest.CaptureFixture[str], settings: list[str], said: str
) -> None:
    assert wim("train", "reward", "run", *sets(*settings)) == 1
    told = capsys.readouterr().err
    assert said in told
    assert not (run / "reward").exists()


def test_aspects_that_no_judge_gave_are_told(wim: Wim, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feedback = tables.read(run / "feedback.parquet", "feedback")
    tables.write(run / "feedback.parquet", "feedback", feedback, {})
    assert wim("train", "reward", "run", *sets("reward.heads=aspects")) == 1
    assert "has no column 'aspects'" in capsys.readouterr().err


def test_pairs_that_were_made_from_other_ratings_are_told(
    wim: Wim, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratings = tables.read(run / "ratings.parquet", "ratings")
    tables.write(run / "ratings.parquet", "ratings", ratings.with_columns(reward=-pl.col("reward")), {})
    assert wim("train", "reward", "run", *sets("reward.loss=listwise")) == 1
    assert "pairs.parquet: was made from another ratings.parquet; run `wim pair run` again" in capsys.readouterr().err


@pytest.mark.usefixtures("run")
def test_a_policy_with_an_adapter_is_to_be_merged_first(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy").mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (tmp_path / "policy" / name).write_text("{}")
    policy.write(tmp_path / "policy", policy.Policy("data/demo/model", None, tmp_path / "policy"))
    assert wim("train", "reward", "run", "--policy", "policy", *sets()) == 1
    assert "`wim train merge` makes one model of it" in capsys.readouterr().err


def test_a_folder_that_is_no_reward_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="not a reward model; `wim train reward RUN` writes"):
        stored.read(tmp_path)


def test_a_loss_ignores_no_setting_in_silence() -> None:
    with pytest.raises(ParamsError, match="grades_from must be left as it is"):
        params.load(None, ["reward.loss=listwise", "reward.grades_from=comparisons"])
    with pytest.raises(ParamsError, match="threshold_learning_rate must be above 0"):
        params.load(None, ["reward.threshold_learning_rate=0"])


def test_a_run_without_pairs_is_told(wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "run")
    assert wim("train", "reward", "run", *sets()) == 1
    assert "run `wim pair run` first" in capsys.readouterr().err
