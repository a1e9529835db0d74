"""train kto: ratings -> RUN/policy and RUN/training.parquet, by TRL's KTOTrainer and a LoRA adapter.

KTO (Ethayarajh et al., 2024, arXiv:2402.01306) learns from single completions that are good or bad, so every rated
completion counts and not only those of pairs. Good is a reward above ``kto.threshold``, bad one below it.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from builder import rows, tables
from builder.compare import DECIMALS
from builder.errors import TableError, WimError
from builder.ids import fingerprint
from builder.language import policy
from builder.language.policy import Policy
from builder.params import Params
from builder.params.blocks import as_dict
from builder.params.train import Kto
from train import adapter, arguments
from train.preferences import checks, rated
from train.preferences.pairs import without_control_strings
from train.running import checkpoints, metrics, workers

INSTEAD = {
    "loss": "KTO has a loss of its own",
    "label_smoothing": "KTO does not read it",
    "offset": "there are no pairs",
    "weight": "there are no pairs",
    "order": "completions come in random order",
    "launch": "it is one process",
    "throughput": "it is measured where pairs are stored",
}
"""Settings of DPO alone, and what to do about them."""


@dataclass(frozen=True)
class Made:
    """Completions learned from: good and bad ones, those between that are neither, those that hold control strings,
    prompts without a text, what was seen in the completions' tokens (checks.py), and the loss's course.
    """

    good: int
    bad: int
    neither: int
    escaped: int
    unprompted: int
    long_prompts: int
    over_context: int
    cut: int
    unended: int
    mismatched: int
    steps: int
    first_loss: float
    last_loss: float


def run(folder: Path, params: Params, policy_folder: Path | None = None) -> Made:
    """Train on the run's rated completions from the policy in ``policy_folder`` (default: the base model).

    Raises TableError where none are good or none are bad. A run that was killed goes on from its last checkpoint.
    """
    arguments.check_read(params.train, "kto", INSTEAD)
    start = policy.read(policy_folder, params.model)
    inputs = {name: tables.find(folder, name) for name in rated.TABLES}
    every, unprompted = rated.read(folder, params)
    told, neither = labelled(every, params.kto.threshold)
    told, escaped = without_control_strings(told, {"prompt": True, "completion": False})
    known = {"train": checkpoints.told(params.train), "kto": as_dict(params.kto), "pair": as_dict(params.pair)}
    about: dict[str, Any] = {"stage": "train kto", "params": known | {"seed": params.seed}, "start": start.about()}
    work = checkpoints.WORK / fingerprint(about | {"inputs": tables.fingerprints(inputs)})
    with rows.lock(work):
        trainer, seen = _assembled(told.sample(fraction=1, shuffle=True, seed=params.seed), start, params, work, folder)
        _train(trainer, work)
        adapter.save(trainer, folder, start)
        history = trainer.state.log_history
        training = metrics.table(history)
        tables.write(tables.path(folder, "training"), "training", training, tables.metadata(inputs=inputs, **about))
        shutil.rmtree(work)  # last: until all is written, a kill must find its checkpoints
    losses = [entry["loss"] for entry in history if "loss" in entry]
    label = trainer.train_dataset.to_polars()["label"]
    return Made(
        int(label.sum()), int((~label).sum()), neither, escaped, unprompted, **vars(seen), steps=len(losses),
        first_loss=losses[0], last_loss=losses[-1],
    )  # fmt: skip


def labelled(every: pl.DataFrame, threshold: float | None) -> tuple[pl.DataFrame, int]:
    """Columns prompt, completion (messages) and label of what is good or bad, and how many are neither.

    ``every``: messages, text, value. Without a threshold it is the median of the values. Raises TableError.
    """
    middle = every.select(pl.col("value").median()).item() if threshold is None else threshold
    gap = (every["value"] - middle).round(DECIMALS)
    told = every.with_columns(label=gap > 0).filter(gap != 0)
    good = int(told["label"].sum())
    if not 0 < good < len(told):
        raise TableError(
            f"kto.threshold: {good:,} completions are above {middle}, {len(told) - good:,} below: KTO needs both"
        )
    neither = len(every) - len(told)
    if neither:
        print(
            f"{neither:,} of {len(every):,} completions have the reward {middle:g} and are neither good nor bad",
            file=sys.stderr,
        )
    turn = pl.concat_list(pl.struct(role=pl.lit("assistant"), content="text"))
    return told.select(prompt="messages", completion=turn, label="label"), neither


def _assembled(told: pl.DataFrame, start: Policy, params: Params, work: Path, folder: Path) -> tuple[Any, checks.Seen]:
    """TRL's trainer with what can be read. Raises WimError for what this machine or TRL cannot do."""
    arguments.prepare(params)
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    tokenizer, model, shape = adapter.load(start, params)
    config = KTOConfig(
        beta=params.train.beta,
        max_length=None,
        desirable_weight=desirable_weight(told["label"], params.kto),
        undesirable_weight=params.kto.undesirable_weight,
        **arguments.common(params, work),
    )
    try:
        trainer = KTOTrainer(
            model=model, args=config, train_dataset=Dataset(told.to_arrow()), processing_class=tokenizer,
            peft_config=shape, callbacks=arguments.callbacks(params, folder),
        )  # fmt: skip
        workers.check(trainer, params.train)
    except ValueError as error:
        raise WimError(f"train: {tables.first_line(error)}") from error
    readable, seen = _readable(trainer, told, params)
    trainer.desirable_weight = desirable_weight(readable["label"], params.kto)
    trainer.train_dataset = Dataset(_mismatched(readable, config.per_device_train_batch_size).to_arrow())
    if params.train.reference == "base":
        adapter.drop_copy(trainer)
    return arguments.quiet(trainer), seen


def desirable_weight(label: pl.Series, settings: Kto) -> float:
    """kto.desirable_weight or, if it is null, what lets the good ones together weigh as much as the bad ones do."""
    good = int(label.sum())
    return settings.desirable_weight or settings.undesirable_weight * (len(label) - good) / good


def _readable(trainer: Any, told: pl.DataFrame, params: Params) -> tuple[pl.DataFrame, checks.Seen]:
    """The rows of token ids that pass the checks, with completions cut, and what was seen of all."""
    tokenized = trainer.train_dataset.select_columns(["prompt_ids", "completion_ids", "label"]).to_polars()
    tokenized = tokenized.hstack(told.select("prompt"))
    left, seen = checks.checked(tokenized, trainer.processing_class, trainer.model, params.train, ("completion_ids",))
    if not 0 < left["label"].sum() < len(left):
        raise TableError("what is short enough to be read (train.max_prompt) is all good, or all bad: KTO needs both")
    return left.drop("prompt"), seen


def _train(trainer: Any, work: Path) -> None:
    """To the end, from the last checkpoint if there is one."""
    checkpoint = checkpoints.last(work)
    if checkpoint:
        shutil.rmtree(checkpoint / adapter.COPY, ignore_errors=True)  # it would be loaded in the policy's place
        checkpoints.remember_tokens(trainer, checkpoint)
    checkpoints.train(trainer, checkpoint)
    adapter.drop_copy(trainer)  # it would be saved with the policy


def _mismatched(told: pl.DataFrame, batch: int) -> pl.DataFrame:
    """With KL_completion_ids as TRL makes them: each prompt gets the completion of the one before it in its batch.

    One that is alone in the last batch gets that of the batch before: its own would be no mismatch.
    """
    parts = list(told["completion_ids"].to_frame().iter_slices(batch))
    before = [pl.concat([part.tail(1), part.head(-1)]) for part in parts]
    if len(parts) > 1 and len(parts[-1]) == 1:
        before[-1] = parts[-2].tail(1)
    return told.with_columns(pl.concat(before).to_series().alias("KL_completion_ids"))
