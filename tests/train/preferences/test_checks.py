"""What is counted before training starts, and told in one line each."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trained import make_pairs

from builder.language.models import resolve

Wim = Callable[..., int]
ONE_STEP = ("--json", "--set", "train.max_steps=1", "--set", "train.batch=4", "--set", "train.device_batch=4")


@pytest.fixture
def made(wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[dict[str, Any], str]]:
    """Trains one step and gives what it made and what it told."""

    def call(*sets: str) -> tuple[dict[str, Any], str]:
        make_pairs(tmp_path / "run", count=12)
        assert wim("train", "dpo", "run", *ONE_STEP, *(w for s in sets for w in ("--set", s))) == 0
        out, told = capsys.readouterr()
        return json.loads(out), told

    return call


@pytest.fixture
def model_with(tmp_path: Path) -> Callable[[str, str], str]:
    """The demo's model with one piece of its chat template put another way."""

    def copy(old: str, new: str) -> str:
        folder = tmp_path / "model"
        shutil.copytree(resolve("data/demo/model"), folder)
        template = (folder / "chat_template.jinja").read_text()
        assert old in template
        (folder / "chat_template.jinja").write_text(template.replace(old, new))
        return f"model.name={folder}"

    return copy


@pytest.fixture
def reading(tmp_path: Path) -> Callable[[int], str]:
    """The demo's model as one that reads no more than so many tokens."""

    def copy(tokens: int) -> str:
        folder = tmp_path / "model"
        shutil.copytree(resolve("data/demo/model"), folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": tokens}))
        return f"model.name={folder}"

    return copy


def test_nothing_is_told_where_nothing_is_cut_or_left_out(made: Any) -> None:
    account, told = made()
    names = ("pairs", "long_prompts", "over_context", "cut", "unended", "mismatched")
    assert [account[name] for name in names] == [12, 0, 0, 0, 0, 0]
    assert "of 12" not in told
    assert "of 24" not in told


def test_long_prompts_are_left_out_and_counted(made: Any) -> None:
    account, told = made("train.max_prompt=10")
    assert account["pairs"] == 2
    assert account["long_prompts"] == 10
    assert "10 of 12 pairs are left out: prompts longer than 10 tokens" in told


def test_pairs_that_are_longer_than_the_model_reads_are_left_out(made: Any, reading: Any) -> None:
    account, told = made(reading(29))  # 10 of the pairs have 30 tokens, the others 28
    assert (account["over_context"], account["pairs"]) == (10, 2)
    assert "10 of 12 pairs are left out: longer than the 29 tokens that the model reads" in told


def test_if_all_pairs_are_too_long_there_is_nothing_to_train_on(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pairs(tmp_path / "run", count=4)
    assert wim("train", "dpo", "run", *ONE_STEP, "--set", "train.max_prompt=4") == 1
    told = capsys.readouterr().err
    assert "4 of 4 pairs are left out: prompts longer than 4 tokens" in told
    assert "no pair is left to train on" in told


def test_cut_completions_are_counted(made: Any) -> None:
    account, told = made("train.max_completion=10")
    assert account["cut"] == 12  # the chosen ones
    assert "12 of 24 completions are longer than train.max_completion (10 tokens)" in told


def test_completions_without_an_end_of_turn_are_counted(made: Any, model_with: Any) -> None:
    account, told = made(model_with("+ '<|end|>' }}", "}}"))
    assert account["unended"] == 24
    assert "24 of 24 completions do not end with a token that ends a turn" in told


def test_spaces_after_the_end_of_turn_are_no_missing_end(made: Any, model_with: Any) -> None:
    assert made(model_with("+ '<|end|>' }}", "+ '<|end|> ' }}"))[0]["unended"] == 0


def test_a_template_under_which_the_prompt_is_no_beginning_is_counted(made: Any, model_with: Any) -> None:
    account, told = made(model_with("{{ '<|assistant|>' }}", "{{ '<|assistant|>Well: ' }}"))
    assert account["mismatched"] == 12
    assert "12 of 12 prompts are not the beginning of prompt and completion" in told
