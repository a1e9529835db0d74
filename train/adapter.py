"""The model that is trained, with its LoRA adapter: loaded, and saved as a policy."""

import os
import shutil
from pathlib import Path
from typing import Any

from builder import models, policy, tables
from builder.params import Params
from builder.policy import Policy

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
    lora = params.train.lora
    shape = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, bias="none",
        target_modules=list(lora.targets), task_type="CAUSAL_LM",
    )  # fmt: skip
    return tokenizer, model, shape


def drop_copy(trainer: Any) -> None:
    """Without TRL's copy, its reference is the model with its adapter off."""
    if COPY in trainer.model.peft_config:
        trainer.model.delete_adapter(COPY)


def save(trainer: Any, folder: Path, start: Policy) -> None:
    """RUN/policy: the adapter, its config with sorted lists (PEFT writes sets in any order), policy.json."""
    target, making = folder / "policy", folder / ".policy.tmp"
    for old in (target, making):
        shutil.rmtree(old, ignore_errors=True)
    trainer.model.save_pretrained(str(making), safe_serialization=True)
    (making / "README.md").unlink(missing_ok=True)
    config = tables.read_json(making / "adapter_config.json")
    config |= {name: sorted(value) for name, value in config.items() if isinstance(value, list)}
    config["base_model_name_or_path"] = start.model
    tables.write_json(making / "adapter_config.json", dict(sorted(config.items())))
    policy.write(making, Policy(start.model, start.revision, making))
    os.replace(making, target)
