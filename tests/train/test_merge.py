"""Base and adapter as one model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from trained import SMALL, make_pairs

from builder.language import models

Wim = Callable[..., int]


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_the_merged_model_has_the_logits_of_base_and_adapter(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str], stored: str
) -> None:
    from peft import PeftModel

    chats, base = models.load("data/demo/model", None, stored)
    base.save_pretrained(tmp_path / "base")
    chats.save_pretrained(tmp_path / "base")
    make_pairs(tmp_path / "run")
    assert wim("train", "dpo", "run", *SMALL, "--set", "train.max_steps=4", "--set", "model.name=base") == 0
    capsys.readouterr()
    assert wim("train", "merge", "run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["dtype"] == "float32"

    tokenizer, merged = models.load("run/merged", None, "float32")
    asked = [{"role": "user", "content": "Describe the otter."}]
    inputs = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    plain = models.load("base", None, "float32")[1]
    with torch.no_grad():
        before = plain(**inputs).logits
        adapted = PeftModel.from_pretrained(plain, "run/policy").eval()(**inputs).logits
        after = merged.eval()(**inputs).logits
    assert (after - adapted).abs().max() < 1e-5
    assert (after - before).abs().max() > 1e-3
    with safe_open("run/merged/model.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F32"}  # noqa: SIM118


def test_a_policy_without_an_adapter_has_nothing_to_merge(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wim("base", "run/policy") == 0
    assert wim("train", "merge", "run") == 1
    assert "no adapter to merge" in capsys.readouterr().err
    assert not (tmp_path / "run/merged").exists()
