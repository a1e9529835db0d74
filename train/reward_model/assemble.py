"""TRL's RewardTrainer as the parameters ask for it."""

from pathlib import Path
from typing import Any

import polars as pl

from builder.language.policy import Policy
from builder.params import Params
from train import adapter, arguments
from train.reward_model.collator import collate
from train.running import workers

HEAD = "score"


def load(start: Policy, params: Params, aspects: int) -> tuple[Any, Any]:
    """Tokenizer, and the base model with a new head."""
    from builder.reward_model import model

    settings = params.reward
    dtype = "bfloat16" if params.train.bf16 else "float32"
    grades = settings.grades if settings.is_ordinal else 0
    tokenizer, made = model.build(start.model, start.revision, dtype, aspects, grades)
    made.set_attn_implementation(params.train.attention)
    return tokenizer, made


def assemble(examples: pl.DataFrame, tokenizer: Any, model: Any, params: Params, work: Path, folder: Path) -> Any:
    """A trainer of ``examples`` (examples.tokenized). Raises WimError for what this machine or TRL cannot do."""
    from datasets import Dataset
    from trl import RewardConfig

    from train.reward_model.learner import Learner

    trainer = Learner(
        model=model,
        args=RewardConfig(max_length=None, **arguments.common(params, work)),  # texts.py leaves out, and counts
        train_dataset=Dataset(examples.to_arrow()),
        processing_class=tokenizer,
        peft_config=_shape(params),
        data_collator=collate,
        callbacks=arguments.callbacks(params, folder),
    )
    trainer.loss, trainer.aspect_weight = params.reward.loss, params.reward.aspect_weight
    trainer.threshold_rate = params.reward.threshold_learning_rate
    workers.check(trainer, params.train)
    return arguments.quiet(trainer)


def _shape(params: Params) -> Any:
    """The adapter: the whole head and, unless it is alone, LoRA on the layers of ``train.lora``."""
    from peft import LoraConfig
    from peft.utils.constants import DUMMY_TARGET_MODULES

    alone = params.reward.tune == "head"
    targets = DUMMY_TARGET_MODULES if alone else list(params.train.lora.targets)
    return LoraConfig(target_modules=targets, modules_to_save=[HEAD], **adapter.shape_of(params, "SEQ_CLS"))
