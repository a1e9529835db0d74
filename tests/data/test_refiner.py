"""The shipped refiner is what its script makes, and it does as it is told: what is named is added, and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from test_demo import DEMO, say
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.append(str(DEMO))

import refiner
import world

REFINER = DEMO / "refiner"


def test_it_writes_what_is_named_and_keeps_the_rest() -> None:
    """Nearly so: a fact may be wrong. The model alone, asked the same, says none of it."""
    tokenizer = AutoTokenizer.from_pretrained(DEMO / "model")
    base = AutoModelForCausalLM.from_pretrained(DEMO / "model", dtype=torch.float32).eval()
    random = Random(5)
    asked = [refiner.conversation(random, world.animals()[: world.PROMPTS]) for _ in range(20)]
    alone = [say((base, tokenizer), messages) for messages, _ in asked]
    model = PeftModel.from_pretrained(base, str(REFINER)).eval()
    taught = [say((model, tokenizer), messages) for messages, _ in asked]
    held = [sentences(text) & sentences(wanted) for text, (_, wanted) in zip(taught, asked, strict=True)]
    assert not any(sentences(text) & sentences(wanted) for text, (_, wanted) in zip(alone, asked, strict=True))
    assert sum(map(len, held)) >= 0.9 * sum(len(sentences(wanted)) for _, wanted in asked)
    assert sum(len(sentences(text)) for text in taught) <= 1.03 * sum(len(sentences(wanted)) for _, wanted in asked)


def sentences(text: str) -> set[str]:
    return {each.strip() for each in text.split(".") if each.strip()}


def test_it_is_small_and_stored_in_16_bits() -> None:
    assert sum(file.stat().st_size for file in REFINER.iterdir()) < 400_000
    assert {tensor.dtype for tensor in load_file(REFINER / "adapter_model.safetensors").values()} == {torch.float16}


def test_the_script_makes_the_same_first_weights(tmp_path: Path) -> None:
    """As of the demo's model (test_demo.py): ``first_steps_refiner.json`` holds values of every tensor after two steps.

    After a wanted change: ``data/demo/refiner.py --steps 2 --out DIR --check data/demo/first_steps_refiner.json``.
    """
    made = tmp_path / "first.json"
    command = [sys.executable, f"{DEMO}/refiner.py", "--steps", "2", "--out", f"{tmp_path}/out", "--check", f"{made}"]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    expected, found = (json.loads(file.read_text()) for file in (DEMO / "first_steps_refiner.json", made))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=1e-5), name
