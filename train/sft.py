"""train sft: sft.parquet -> RUN/policy and RUN/training.parquet, by TRL's SFTTrainer and a LoRA adapter.

The loss is over the completions' tokens. As in train dpo, what TRL would do in silence is done here, and counted.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from builder import rows, tables
from builder.errors import WimError
from builder.ids import file_sha256, fingerprint
from builder.language import policy
from builder.language.policy import Policy
from builder.params import Params, Train
from builder.params.blocks import as_dict
from train import adapter, arguments
from train.preferences import checks
from train.preferences.pairs import without_control_strings
from train.running import checkpoints, metrics, workers

READ = {"prompt": True, "completion": False}
"""Columns of messages, and whether a model's thoughts in them are escaped as well (preferences/pairs.py)."""
INSTEAD = dict.fromkeys(("loss", "label_smoothing", "beta", "offset", "reference"), "there is nothing to prefer") | {
    "weight": "rows have no gap in ratings",
    "order": "rows have no gap in ratings",
    "launch": "it is one process",
    "throughput": "it is measured by train dpo",
}
"""Settings that have a meaning for pairs alone, and why."""


@dataclass(frozen=True)
class Made:
    """Rows trained on and how many of them hold control strings, what was seen in their tokens, the loss's course."""

    rows: int
    escaped: int
    long_prompts: int
    over_context: int
    cut: int
    unended: int
    mismatched: int
    steps: int
    first_loss: float
    last_loss: float


def run(folder: Path, params: Params, policy_folder: Path | None = None) -> Made:
    """Train on RUN/sft.parquet from the policy in ``policy_folder`` (default: the base model).

    Raises WimError for settings without a meaning here, and if no row can be trained on. A run that was killed goes on
    from its last checkpoint.
    """
    arguments.check_read(params.train, "sft", INSTEAD)
    start = policy.read(policy_folder, params.model)
    file = tables.find(folder, "sft")
    data, escaped = without_control_strings(tables.read(file, "sft", ["prompt", "completion"]), READ)
    if data.is_empty():
        raise WimError(f"{file}: holds no row to train on")
    known = {
        "method": "sft",
        "data": file_sha256(file),
        "start": start.hash(),
        "train": checkpoints.told(params.train),
        "seed": params.seed,
    }
    work = checkpoints.WORK / fingerprint(known)
    settings = {"train": as_dict(params.train), "seed": params.seed}
    about = tables.metadata("train sft", settings, {"sft": file}, start=start.about())
    with rows.lock(work):
        trainer = _assembled(data, start, params, work, folder)
        seen = _prepare(trainer, data, params.train)
        checkpoint = checkpoints.last(work)
        if checkpoint:
            checkpoints.remember_tokens(trainer, checkpoint)
        checkpoints.train(trainer, checkpoint)
        adapter.save(trainer, folder, start)
        history = trainer.state.log_history
        tables.write(tables.path(folder, "training"), "training", metrics.table(history), about)
        shutil.rmtree(work)  # last: until all is written, a kill must find its checkpoints
    losses = [entry["loss"] for entry in history if "loss" in entry]
    trained = len(trainer.train_dataset)
    return Made(trained, escaped, **vars(seen), steps=len(losses), first_loss=losses[0], last_loss=losses[-1])


def _assembled(data: pl.DataFrame, start: Policy, params: Params, work: Path, folder: Path) -> Any:
    """TRL's trainer, which has tokenized ``data``. It cuts and drops nothing (max_length)."""
    arguments.prepare(params)
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    tokenizer, model, shape = adapter.load(start, params)
    common = arguments.common(params, work)
    del common["disable_dropout"]  # a setting of trainers that compare; SFT leaves dropout as the model has it
    try:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(max_length=None, completion_only_loss=True, **common),
            train_dataset=Dataset(data.to_arrow()),
            processing_class=tokenizer,
            peft_config=shape,
            callbacks=arguments.callbacks(params, folder),
        )
    except ValueError as error:
        raise WimError(f"train: {tables.first_line(error)}") from error
    workers.check(trainer, params.train)
    return arguments.quiet(trainer)


def _prepare(trainer: Any, data: pl.DataFrame, settings: Train) -> checks.Seen:
    """Give the trainer the rows that pass the checks, with completions cut."""
    from datasets import Dataset

    tokenized = trainer.train_dataset.select_columns(["input_ids", "labels"]).to_polars()
    learned = pl.col("labels").list.eval(pl.element() != -100).list.sum()
    tokens = tokenized.select(
        prompt_ids=pl.col("input_ids").list.head(pl.col("input_ids").list.len() - learned),
        completion_ids=pl.col("input_ids").list.tail(learned),
    )
    kept, seen = checks.checked(
        tokens.hstack(data.select("prompt")), trainer.processing_class, trainer.model, settings, ("completion_ids",)
    )
    masked = pl.col("prompt_ids").list.eval(pl.element() * 0 - 100)
    rows = kept.select(
        input_ids=pl.concat_list("prompt_ids", "completion_ids"), labels=pl.concat_list(masked, "completion_ids")
    )
    trainer.train_dataset = Dataset(rows.to_arrow())
    return seen
