"""`wim train kto` on the real TRL: which completions are good, and that the policy learns to tell them apart."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from trained import metric

from train import kto

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
    assert chosen[-1] - rejected[-1] > 0.05
    assert Path("run/policy/adapter_model.safetensors").is_file()
    assert wim("train", "kto", "run", *sets, "--set", "kto.threshold=100") == 1
    assert "KTO needs both" in capsys.readouterr().err
    assert wim("train", "kto", "run", *sets, "--set", "train.offset=1") != 0
    assert "there are no pairs" in capsys.readouterr().err
