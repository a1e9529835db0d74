"""The model that is trained, with its LoRA adapter: loaded, and saved as a policy."""

import os
import shutil
from pathlib import Path
from typing import Any

from builder import tables
from builder.language import models, policy
from builder.language.policy import Policy
from builder.params import Params

COPY = "ref"
"""TRL's name for its copy of the adapter that training starts from."""


def load(start: Policy, params: Params) -> tuple[Any, Any, Any]:
    """Tokenizer, model, and the new adapter's shape (None: the adapter of ``start`` is trained on)."""
    from peft import LoraConfig, PeftModel

    # A model stored in 16 bits is trained in float32 unless bf16 is asked for.
    tokenizer, model = models.load(start.model, start.revision, "bfloat16" if params.train.bf16 else "float32")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.set_attn_implementation(params.train.attention)
    if start.adapter:
        return tokenizer, PeftModel.from_pretrained(model, str(start.adapter), is_trainable=True), None
    return tokenizer, model, LoraConfig(target_modules=list(params.train.lora.targets), **shape_of(params, "CAUSAL_LM"))


def shape_of(params: Params, task: str) -> dict[str, Any]:
    """Arguments of PEFT's LoraConfig, beside the layers that get one."""
    lora = params.train.lora
    return {"r": lora.r, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout, "bias": "none", "task_type": task}


def drop_copy(trainer: Any) -> None:
    """Without TRL's copy, its reference is the model with its adapter off."""
    if COPY in trainer.model.peft_config:
        trainer.model.delete_adapter(COPY)


def save(trainer: Any, folder: Path, start: Policy) -> None:
    """RUN/policy: the adapter and policy.json."""
    target, making = folder / "policy", folder / ".policy.tmp"
    for old in (target, making):
        shutil.rmtree(old, ignore_errors=True)
    write(trainer.model, making, start.model)
    policy.write(making, Policy(start.model, start.revision, making))
    os.replace(making, target)


def write(model: Any, folder: Path, base: str) -> None:
    """The adapter of a PEFT model, and its configuration with sorted lists (PEFT writes sets in any order)."""
    model.save_pretrained(str(folder), safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)
    config = tables.read_json(folder / "adapter_config.json")
    config |= {name: sorted(set(value)) for name, value in config.items() if isinstance(value, list)}
    config["base_model_name_or_path"] = base
    tables.write_json(folder / "adapter_config.json", dict(sorted(config.items())))
