"""Online DPO by the real TRL on the demo model: who judges, what is learned from, what is kept, a kill."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from loop import killed_and_resumed, make_prompts, sets, table
from trained import metric, weights

from builder.params import Contrastive

Wim = Callable[..., int]
SAVED = ("train.max_steps=4", "train.save_steps=2")
TABLES = ("completions.parquet", "feedback.parquet", "training.parquet")
POLICY = "policy/adapter_model.safetensors"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on the same prompts: by the fixed judge, and by the moving one."""
    from builder import cli

    folder = tmp_path_factory.mktemp("online")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_prompts(lambda *words: cli.main([str(word) for word in words]) or 0, "base")  # type: ignore[func-returns-value]
        shutil.copytree("base", "current")
        for judge in ("base", "current"):
            cli.main(["train", "online", judge, *sets(f"judged_by={judge}", *SAVED)])
    return folder


def raw(run: Path) -> list[str]:
    return table(run, "feedback").sort("completion_id", "attempt")["raw"].to_list()


def test_training_changes_the_adapter_and_logs_every_step(trained: Path) -> None:
    run = trained / "base"
    assert any(weight.abs().max() > 0 for name, weight in weights(run).items() if "lora_B" in name)
    assert table(run, "training")["step"].unique().sort().to_list() == [1, 2, 3, 4]
    for name in ("loss", "rewards/margins", "objective/scores", "pairs/learned"):
        assert len(metric(run, name)) == 4, name
    shares = zip(*(metric(run, f"pairs/{name}") for name in ("learned", "tied", "unratable")), strict=True)
    assert all(sum(share) == pytest.approx(1) for share in shares)
    assert metric(run, "loss")[0] == pytest.approx(0.6931, abs=1e-4)
    assert not list((trained / ".wim/train").glob("*/checkpoint-*"))


def test_completions_that_others_made_are_not_written_over(wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    make_prompts(wim, "run", 2)
    assert wim("complete", "run", "--set", "complete.max_tokens=4") == 0
    before = Path("run/completions.parquet").read_bytes()
    assert wim("train", "online", "run", *sets()) == 1
    assert "made by complete, and would be written over" in capsys.readouterr().err
    assert Path("run/completions.parquet").read_bytes() == before


def test_the_fixed_judge_is_the_base_model_and_the_moving_one_is_not(trained: Path, wim: Wim, tmp_path: Path) -> None:
    for judge in ("base", "current"):
        shutil.copytree(trained / judge, tmp_path / judge)
        said = raw(tmp_path / judge)
        assert wim("judge", judge, *sets()) == 0
        assert (said == raw(tmp_path / judge)) == (judge == "base")


def test_both_judges_begin_as_the_base_model(trained: Path) -> None:
    first = [
        table(trained / judge, "feedback").filter(pl.col("step") == 1).drop("step") for judge in ("base", "current")
    ]
    assert first[0].equals(first[1])


def test_every_label_can_be_traced_to_its_words(trained: Path, wim: Wim, tmp_path: Path) -> None:
    shutil.copytree(trained / "base", tmp_path / "run")
    completions = table(tmp_path / "run", "completions")
    assert len(completions) == 4 * 2 * 4
    assert completions["step"].value_counts().sort("step")["count"].to_list() == [8] * 4
    per_prompt = completions.group_by("prompt_id").agg(pl.col("index").sort())
    assert all(indices == list(range(len(indices))) for indices in per_prompt["index"].to_list())
    assert set(completions["finish_reason"]) <= {"stop", "length"}
    assert (completions["tokens"] <= 40).all()
    for stage in ("embed", "rate", "pair"):
        assert wim(stage, "run") == 0
    rated = completions.join(table(tmp_path / "run", "ratings"), on="completion_id")
    assert (rated["reward"] - rated["reward_right"]).abs().max() < 1e-6  # type: ignore[operator]
    assert rated["reward"].null_count() == rated["reward_right"].null_count()
    assert wim("explain", "run") == 0
    assert wim("stats", "run") == 0


def test_a_later_round_goes_on_with_the_same_adapter(trained: Path, wim: Wim, tmp_path: Path) -> None:
    for run, reference in (("previous", "previous"), ("base", "base")):
        make_prompts(wim, run, 4)
        more = (
            "--policy",
            trained / "base/policy",
            *sets("train.max_steps=1", "pair.ties=keep", f"train.reference={reference}"),
        )
        assert wim("train", "online", run, *more) == 0
        after, before = weights(tmp_path / run), weights(trained / "base")
        assert any((after[name] != before[name]).any() for name in before)
        kl = metric(tmp_path / run, "objective/kl")[0]
        assert (abs(kl) < 1e-3) == (reference == "previous")
        assert sorted(f.name for f in (tmp_path / run / "policy").iterdir()) == [
            "adapter_config.json",
            "adapter_model.safetensors",
            "policy.json",
        ]


def test_what_no_judge_could_be_read_on_is_not_learned_from(wim: Wim, tmp_path: Path) -> None:
    make_prompts(wim, "run", 4)
    assert wim("train", "online", "run", *sets("judge.max_tokens=3", "train.max_steps=2")) == 0
    assert metric(tmp_path / "run", "pairs/unratable") == [1.0, 1.0]
    assert table(tmp_path / "run", "completions")["reward"].null_count() == 16
    assert all(not weight.any() for name, weight in weights(tmp_path / "run").items() if "lora_B" in name)


def test_ties_are_left_out_unless_they_are_kept(wim: Wim, tmp_path: Path) -> None:
    for ties in ("drop", "keep"):
        make_prompts(wim, ties, 4)
        more = sets("pair.min_gap=10", f"pair.ties={ties}", "train.max_steps=1")
        assert wim("train", "online", ties, *more) == 0
        learned = any(weight.any() for name, weight in weights(tmp_path / ties).items() if "lora_B" in name)
        assert learned == (ties == "keep")
        assert metric(tmp_path / ties, "pairs/tied") == [float(ties == "drop")]


def test_a_killed_run_goes_on_to_the_same_bytes(
    trained: Path, wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "current", tmp_path / "whole")
    run = killed_and_resumed(wim, "online", tmp_path / "whole", "judged_by=current", *SAVED)
    assert "resumed from step" in capsys.readouterr().err
    for name in (*TABLES, POLICY):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("train.loss=hinge", "train.loss: hinge is no loss of online DPO; it has sigmoid, ipo"),
        ("train.offset=1", "train.offset: 1.0 has no meaning for train online"),
        ("train.order=delta_desc", "train.order: 'delta_desc' has no meaning for train online"),
        ("train.launch.processes=2", "has no meaning for train online; it is one process"),
        ("online.temperature=0", "online.temperature must be above 0"),
    ],
)
def test_settings_that_mean_nothing_here_are_refused_in_words(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, told: str
) -> None:
    del tmp_path
    assert wim("train", "online", "run", "--set", setting) == 1
    assert told in capsys.readouterr().err


def test_a_moving_judge_in_another_engine_is_refused(wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    make_prompts(wim, "run", 4)
    assert wim("train", "online", "run", *sets("judged_by=current", "judge.engine=echo")) == 1
    assert "echo does not hold the policy in training" in capsys.readouterr().err


def test_another_judge_judges_in_its_own_engine(wim: Wim, tmp_path: Path) -> None:
    make_prompts(wim, "run", 4)
    assert wim("train", "online", "run", *sets("judge.engine=echo", "train.max_steps=1")) == 0
    assert set(table(tmp_path / "run", "feedback")["wim_status"]) <= {"missing", "nothing"}
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    assert wim("judge", "again", *sets("judge.engine=echo")) == 0
    assert raw(tmp_path / "run") == raw(tmp_path / "again")


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("search", [None, Contrastive()])
def test_judging_leaves_the_model_as_it_was(fixed: bool, search: Contrastive | None) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    from builder import params
    from builder.engines import Request, Sampling
    from builder.language import models, policy
    from train.loop.judging import InMemory

    given = params.load(None)
    tokenizer, base = models.load(given.model.name, None, "float32")
    model: Any = get_peft_model(base, LoraConfig(target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    model.train()
    ids = torch.tensor([[5, 6, 7, 8]])
    before = model(ids).logits, {name: weight.requires_grad for name, weight in model.named_parameters()}
    asked = Request(
        ({"role": "user", "content": "Describe it."},),
        policy.base(given.model),
        0,
        Sampling(0.0, 24, contrastive=search),
    )
    ((_, said),) = InMemory(given, model, tokenizer, fixed).generate([asked])
    assert model.training
    assert before[1] == {name: weight.requires_grad for name, weight in model.named_parameters()}
    assert torch.equal(model(ids).logits, before[0])
    from builder.engines.transformers import Engine

    ((_, plain),) = Engine(given, [policy.base(given.model)]).generate([asked])
    assert (said.text == plain.text) == fixed
