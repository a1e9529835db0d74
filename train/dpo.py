"""train dpo: pairs -> RUN/policy and RUN/training.parquet, by TRL's DPOTrainer and a LoRA adapter.

Round k trains on from round k - 1's adapter. The reference model is the policy that training starts
from (``previous``) or the base model (``base``); its log-probabilities are worked out before the first
step. What TRL would do in silence (drop a long prompt, cut a completion) is done here, and counted.
"""

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from builder import rows, tables
from builder.errors import WimError
from builder.ids import file_sha256, fingerprint
from builder.language import policy
from builder.language.policy import Policy
from builder.params import Params
from builder.params.blocks import as_dict
from builder.params.train import LISTWISE
from train import adapter
from train.preferences import checks, lists, offset, reference, weight
from train.preferences.pairs import COLUMNS, ordered, trainable, without_control_strings
from train.preferences.trainer import assemble
from train.running import checkpoints, metrics, throughput, workers


@dataclass(frozen=True)
class Made:
    """Pairs trained on (or lists, for a loss over these), pairs that hold control strings, pairs (prompts) without a
    prompt's text, what was seen in the pairs' tokens (checks.py), and the loss's course.
    """

    pairs: int
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
    """Train on RUN/pairs.parquet from the policy in ``policy_folder`` (default: the base model).

    A loss over lists reads RUN/ratings.parquet and what was rated instead. Raises TableError if no pair can be trained
    on. A run that was killed goes on from its last checkpoint.
    """
    start = policy.read(policy_folder, params.model)
    over_lists = params.train.loss in LISTWISE
    inputs = {name: tables.find(folder, name) for name in (lists.TABLES if over_lists else ("pairs",))}
    if over_lists:
        pairs, unprompted = lists.read(folder, params)
    else:
        pairs, unprompted = trainable(tables.read(inputs["pairs"], "pairs", COLUMNS), folder)
    pairs, escaped = without_control_strings(pairs)
    work = checkpoints.WORK / _fingerprint(inputs, start, params)
    settings = {"train": as_dict(params.train), "seed": params.seed} | _ranking(params)
    about = tables.metadata("train dpo", settings, inputs, start=start.about())
    with rows.lock(work) if workers.is_main() else contextlib.nullcontext():
        seen, trained, history = _train(pairs, start, params, work, folder)
        if workers.is_main():
            tables.write(tables.path(folder, "training"), "training", metrics.table(history), about)
            if params.train.throughput:
                tables.write(tables.path(folder, "throughput"), "throughput", throughput.table(history), about)
            shutil.rmtree(work)  # last: until all is written, a kill must find its checkpoints
    losses = [entry["loss"] for entry in history if "loss" in entry]
    return Made(
        trained, escaped, unprompted, **vars(seen), steps=len(losses), first_loss=losses[0], last_loss=losses[-1]
    )


def _train(
    pairs: pl.DataFrame, start: Policy, params: Params, work: Path, folder: Path
) -> tuple[checks.Seen, int, list[dict[str, Any]]]:
    """Train, save RUN/policy, and give what the checks saw, how many pairs are trained on, and what TRL logged."""
    try:
        trainer = assemble(pairs, start, params, work, folder)
    except ValueError as error:
        raise WimError(f"train: {tables.first_line(error)}") from error
    seen = prepare(trainer, pairs, start, params)
    checkpoint = workers.by_main(lambda: checkpoints.last(work, params.train.launch.processes))
    if checkpoint:
        checkpoints.remember_tokens(trainer, checkpoint)
    checkpoints.train(trainer, checkpoint)
    trainer.accelerator.wait_for_everyone()  # others may still be saving a part of the last checkpoint
    if workers.is_main():
        adapter.save(trainer, folder, start)
    return seen, len(trainer.train_dataset), trainer.state.log_history


def prepare(trainer: Any, pairs: pl.DataFrame, start: Policy, params: Params) -> checks.Seen:
    """Give the trainer the pairs that pass the checks, with the reference's log-probabilities, in their order."""
    from datasets import Dataset

    tokenized = trainer.train_dataset.select_columns(["prompt_ids", "chosen_ids", "rejected_ids"]).to_polars()
    over_lists = [name for name in lists.COLUMNS if name in pairs.columns]
    tokenized = tokenized.hstack(pairs.select("prompt", "delta", *over_lists))
    tokenized, seen = checks.checked(tokenized, trainer.processing_class, trainer.model, params.train)
    tokenized = reference.added(trainer, tokenized, start, params.train)
    tokenized = weight.added(offset.added(tokenized, params.train), params.train)
    tokenized = ordered(tokenized, params.train).drop("prompt", "delta")
    tokenized = lists.grouped(tokenized) if over_lists else tokenized
    workers.tell_filled(len(tokenized), params.train)
    trainer.train_dataset = Dataset(tokenized.to_arrow())
    trainer.precompute_ref_logps = True  # set now and not in its configuration, which would work them out anew
    return seen


def _fingerprint(inputs: Mapping[str, Path], start: Policy, params: Params) -> str:
    """What tells two trainings apart, so that one never goes on from the other's checkpoint.

    The number of processes is in it: as device_batch does, it decides which pairs are summed together, and so the last
    digits; a training that went on with another number would be the result of neither.
    """
    read = {name: file_sha256(file) for name, file in inputs.items()}
    known = {"start": start.hash(), "train": checkpoints.told(params.train), "seed": params.seed}
    return fingerprint(read | known | _ranking(params))


def _ranking(params: Params) -> dict[str, Any]:
    """What lists are made by; pairs.parquet is made already."""
    return {"pair": as_dict(params.pair)} if params.train.loss in LISTWISE else {}
