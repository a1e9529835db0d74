"""`wim train kto` on the real TRL: which completions are good, and that the policy learns to tell them apart."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from loop import killed
from trained import metric

from builder import params
from builder.language import policy
from builder.params.train import Kto
from train import kto
from train.running import metrics

Wim = Callable[..., int]
MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
QUICK = ["train.batch=8", "train.device_batch=4", "train.learning_rate=1e-3", "train.max_steps=6"]


def rated(*values: float) -> pl.DataFrame:
    rows = [([{"role": "user", "content": f"q{i}"}], f"answer {i}", value) for i, value in enumerate(values)]
    return pl.DataFrame(rows, schema={"messages": MESSAGES, "text": pl.String, "value": pl.Float64}, orient="row")


def test_good_is_above_the_median_and_what_is_on_it_is_neither() -> None:
    told, neither = kto.labelled(rated(0.1, 0.5, 0.5, 0.9, 0.2), None)
    assert told["label"].to_list() == [False, True, False]
    assert neither == 2
    told, neither = kto.labelled(rated(0.1, 0.5, 0.9), 0.7)
    assert told["label"].to_list() == [False, False, True]
    assert told["completion"].to_list()[0] == [{"role": "assistant", "content": "answer 0"}]
    assert neither == 0


def test_each_prompt_gets_the_completion_of_the_one_before_it_in_its_batch() -> None:
    told = pl.DataFrame({"completion_ids": [[1], [2], [3], [4], [5]]})
    assert kto._mismatched(told, 3)["KL_completion_ids"].to_list() == [[3], [1], [2], [5], [4]]
    assert kto._mismatched(told, 2)["KL_completion_ids"].to_list() == [[2], [1], [4], [3], [4]]


def test_good_ones_together_weigh_as_much_as_bad_ones_unless_it_is_said() -> None:
    label = pl.Series([True, False, False, False])
    assert kto.desirable_weight(label, Kto()) == 3
    assert kto.desirable_weight(label, Kto(undesirable_weight=0.5)) == 1.5
    assert kto.desirable_weight(label, Kto(desirable_weight=2.0)) == 2


def make_run(wim: Wim, write_jsonl: Callable[..., Path]) -> None:
    facts = ["It is grey.", "It has four legs.", "It lives in the water."]
    records = [
        {"prompt": f"Describe the thing number {i}.", "completion": " ".join(facts[: index + 1]) + f" {i}"}
        | {"rating": 3 + 2 * index, "feedback": f"leaves out {3 - index} facts of {i}"}
        for i in range(12)
        for index in range(3)
    ]
    write_jsonl(records, "records.jsonl")
    assert wim("build", "records.jsonl", "--out", "run", "--set", "rate.method=numerical") == 0


def test_completions_that_cannot_be_learned_from_are_told(
    wim: Wim, write_jsonl: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    records = [
        {"prompt_id": f"p{i}", "completion": f"{text} {i}.", "feedback": "More.", "rating": 3 + index}
        for i in range(2)
        for index, text in enumerate(["It is grey", "It is red"])
    ]
    write_jsonl(records, "records.jsonl")
    assert wim("build", "records.jsonl", "--out", "run", "--set", "rate.method=numerical") == 0
    for words in (["kto", "run"], ["dpo", "run", "--set", "train.loss=pro"]):
        assert wim("train", *words) == 1
        told = capsys.readouterr().err
        assert "left out: 2 of 2 prompts, which hold no text (only an id)" in told
        assert "no completion has a reward and a prompt whose text is known" in told
    assert wim("train", "kto", "run", "--set", "pair.judge=bob") == 1
    assert "pair.judge is 'bob'; there are mean, median, majority, judge" in capsys.readouterr().err


def test_a_policy_learns_from_good_and_bad_completions(
    wim: Wim, write_jsonl: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(wim, write_jsonl)
    capsys.readouterr()
    sets = [word for setting in QUICK for word in ("--set", setting)]
    assert wim("train", "kto", "run", *sets, "--json") == 0
    told = capsys.readouterr()
    made = json.loads(told.out)
    assert (made["good"], made["bad"], made["neither"], made["steps"]) == (12, 12, 12, 6)
    assert "12 of 36 completions" in told.err
    chosen, rejected = metric(Path("run"), "rewards/chosen"), metric(Path("run"), "rewards/rejected")
    for name in pl.read_parquet("run/training.parquet")["name"].unique():
        assert name.replace("/rejected", "/chosen") in (metrics.__doc__ or ""), name
    assert chosen[-1] - rejected[-1] > 0.05
    assert Path("run/policy/adapter_model.safetensors").is_file()
    assert wim("train", "kto", "run", *sets, "--set", "kto.threshold=100") == 1
    assert "KTO needs both" in capsys.readouterr().err
    assert wim("train", "kto", "run", *sets, "--set", "train.offset=1") != 0
    assert "there are no pairs" in capsys.readouterr().err


@pytest.mark.parametrize("reference", ["previous", "base"])
def test_a_killed_training_goes_on_to_the_same_bytes_from_a_base_and_from_an_adapter(
    wim: Wim, write_jsonl: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], reference: str
) -> None:
    """With an adapter to start from there is a copy of it, the reference, that no checkpoint may bring back."""
    make_run(wim, write_jsonl)
    longer = [*QUICK[:-1], "train.max_steps=8", "train.save_steps=2", f"train.reference={reference}"]
    words = [word for setting in longer for word in ("--set", setting)]
    for more, names in (([], ("run", "killed")), (["--policy", "run/policy"], ("second", "second-killed"))):
        for name in set(names) - {"run"}:
            shutil.copytree("run", name, ignore=shutil.ignore_patterns("policy", "training.parquet"))
        assert wim("train", "kto", names[0], *words, *more) == 0
        killed(["train", "kto", names[1], *words, *more])
        assert not (tmp_path / names[1] / "policy").exists()
        capsys.readouterr()
        assert wim("train", "kto", names[1], *words, *more) == 0
        assert "resumed from step" in capsys.readouterr().err
        for file in ("policy/adapter_model.safetensors", "training.parquet"):
            assert (tmp_path / names[1] / file).read_bytes() == (tmp_path / names[0] / file).read_bytes(), file


def test_what_is_too_long_has_no_part_in_the_weight_of_the_good_ones(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del wim  # for its folder
    words = [("It is grey. " * (9 if i < 4 else 1), i < 6) for i in range(12)]
    rows = [([{"role": "user", "content": f"{text}{i}"}], good) for i, (text, good) in enumerate(words)]
    told = pl.DataFrame(rows, schema={"prompt": MESSAGES, "label": pl.Boolean}, orient="row")
    said = pl.Series("completion", [[{"role": "assistant", "content": f"It is {i}."}] for i in range(12)], MESSAGES)
    given = params.load(None, [*QUICK, "train.max_prompt=30"])
    trainer, seen = kto._assembled(told.with_columns(said), policy.base(given.model), given, tmp_path, tmp_path)
    assert (seen.long_prompts, seen.unended) == (4, 0)
    assert trainer.desirable_weight == 3  # two are left, of six bad ones
    assert "4 of 12 rows are left out: prompts longer than 30 tokens" in capsys.readouterr().err
