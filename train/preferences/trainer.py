"""TRL's DPOTrainer as the parameters ask for it."""

from pathlib import Path
from typing import Any

import polars as pl

from builder.language.policy import Policy
from builder.params import Params
from builder.params.train import LISTWISE
from train import adapter, arguments
from train.preferences import collator, offset, weight
from train.running import throughput, workers


def assemble(pairs: pl.DataFrame, start: Policy, params: Params, work: Path, folder: Path) -> Any:
    """A trainer that has tokenized ``pairs``. Raises WimError for what this machine or TRL cannot do."""
    arguments.prepare(params)
    from datasets import Dataset
    from trl import DPOTrainer

    tokenizer, model, shape = adapter.load(start, params)
    kind = weight.extended(offset.extended(DPOTrainer, params.train), params.train)
    if params.train.loss in LISTWISE:
        from train.preferences import listwise

        kind = listwise.extended(kind, params.train.loss, params.pair.min_gap)
    trainer = kind(
        model=model,
        args=_config(params, work),
        train_dataset=Dataset(pairs.select("prompt", "chosen", "rejected").to_arrow()),
        processing_class=tokenizer,
        peft_config=shape,
        data_collator=collator.made(tokenizer),
        callbacks=[throughput.callback(), *arguments.callbacks(params, folder)],
    )
    workers.check(trainer, params.train)
    return arguments.quiet(trainer)


def _config(params: Params, work: Path) -> Any:
    """TRL's configuration. Nothing is cut or dropped by TRL (max_length): checks.py does it, and counts."""
    from trl import DPOConfig

    settings = params.train
    return DPOConfig(
        loss_type=["sigmoid" if settings.loss in LISTWISE else settings.loss],  # of lists TRL's serves what it logs
        label_smoothing=settings.label_smoothing,
        beta=settings.beta,
        train_sampling_strategy="random" if settings.order == "random" else "sequential",
        max_length=None,
        **arguments.common(params, work),
    )
