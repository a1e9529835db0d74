"""train reward: pairs or ratings -> RUN/reward, a reward model, by TRL's RewardTrainer and losses of our own.

Held out are whole prompts, the same ones whatever the loss; what is measured on them goes to RUN/reward/metrics.json.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from builder import ids, rows, tables
from builder.compare import DECIMALS
from builder.errors import TableError, WimError
from builder.language import models, policy
from builder.language.policy import Policy
from builder.params import Params
from builder.params.blocks import as_dict
from builder.reward_model import stored
from builder.reward_model.stored import Stored
from builder.reward_model.tokens import Tokens
from train import adapter, arguments
from train.preferences import pairs, rated
from train.reward_model import aspects, assemble, examples, texts
from train.reward_model.aspects import Aspects
from train.reward_model.targets import Targets
from train.running import checkpoints, metrics

FOLDER = "reward"
INSTEAD = {
    "loss": "see reward.loss",
    "label_smoothing": "no loss of reward models reads it",
    "beta": "there is no reference model",
    "reference": "there is no reference model",
    "offset": "see reward.loss=margin",
    "weight": "see reward.loss, of which all but bradley_terry read how much better one is",
    "order": "pairs come in random order",
    "launch": "it is one process",
    "throughput": "it is measured where a policy is trained",
}
"""Settings of DPO alone, and what to do about them."""


@dataclass(frozen=True)
class Made:
    """Pairs (or lists) learned from; those without a prompt's text, and without a grade or a preference; what was
    seen of the completions (texts.py); the loss's course; and what is in metrics.json.
    """

    examples: int
    unprompted: int
    untold: int
    long_prompts: int
    over_context: int
    cut: int
    steps: int
    first_loss: float
    last_loss: float
    held_out: dict[str, Any]


@dataclass(frozen=True)
class _Data:
    """``learned`` and ``held``: examples of the loss; ``judged``: held-out pairs with a preference."""

    tokens: Mapping[str, Tokens]
    learned: pl.DataFrame
    held: pl.DataFrame
    judged: pl.DataFrame
    targets: Targets
    aspects: Aspects | None
    unprompted: int
    seen: texts.Seen


def run(folder: Path, params: Params, policy_folder: Path | None = None) -> Made:
    """Write RUN/reward: adapter, reward.json, metrics.json, training.parquet.

    Raises WimError for what this machine, TRL or the run's tables cannot do. A run that was killed goes on from its
    last checkpoint.
    """
    arguments.check_read(params.train, "reward", INSTEAD)
    start = policy.read(policy_folder, params.model)
    if start.adapter:
        raise WimError(f"{policy_folder}: has an adapter; `wim train merge` makes one model of it, to be model.name")
    inputs = {name: tables.find(folder, name) for name in _tables(params)}
    numbers = aspects.read(folder) if params.reward.heads == "aspects" else None
    read = tables.fingerprints(inputs)
    tables.check_made_from(inputs["pairs"], read, "pair")
    about: dict[str, Any] = {"stage": "train reward", "params": _known(params), "start": start.about()}
    work = checkpoints.WORK / ids.fingerprint(about | {"inputs": read})
    with rows.lock(work):
        arguments.prepare(params)
        tokenizer, model = assemble.load(start, params, 0 if numbers is None else len(numbers.columns) - 1)
        data = _data(folder, params, tokenizer, models.context(model), numbers)
        trainer = _trained(data, tokenizer, model, params, work, folder)
        held = _measured(trainer, data, params)
        history = trainer.state.log_history
        _write(folder, trainer, _stored(trainer, data, start, params), held, tables.metadata(inputs=inputs, **about))
        shutil.rmtree(work)  # last: until all is written, a kill must find its checkpoints
    losses = [entry["loss"] for entry in history if "loss" in entry]
    return Made(
        len(data.learned), data.unprompted, data.targets.untold, **vars(data.seen), steps=len(losses),
        first_loss=losses[0], last_loss=losses[-1], held_out=held,
    )  # fmt: skip


def _tables(params: Params) -> list[str]:
    """What is read of the run."""
    settings = params.reward
    names = ["pairs"]
    names += ["prompts", "completions", "ratings"] if settings.loss == "listwise" else []
    names += ["feedback"] if settings.heads == "aspects" else []
    return names + (["comparisons"] if settings.grades_from == "comparisons" else [])


def _known(params: Params) -> dict[str, Any]:
    """The parameters that what is learned depends on; no paths."""
    return {
        "reward": as_dict(params.reward),
        "train": checkpoints.told(params.train),
        "pair": as_dict(params.pair),
        "seed": params.seed,
    }


def _data(folder: Path, params: Params, tokenizer: Any, context: int, numbers: pl.DataFrame | None) -> _Data:
    """What is learned from, and what is held out. Raises TableError if nothing is left to learn from."""
    settings = params.reward
    every, unprompted = _pairs(folder, params)
    lists = rated.read(folder, params)[0] if settings.loss == "listwise" else None
    told = texts.of_pairs(every)
    told = told if lists is None else pl.concat([lists.drop("value"), told]).unique("completion_id", keep="first")
    tokens, seen = texts.encoded(told.sort("completion_id"), tokenizer, context, params.train)
    readable = [pl.col(f"{side}_id").is_in(list(tokens)) for side in ("chosen", "rejected")]
    every = every.filter(*readable)
    held = held_out(pl.concat([every["prompt_id"], *([] if lists is None else [lists["prompt_id"]])]), params)
    _check_left(folder, every if lists is None else lists, held)
    targets = Targets.of(every, held, folder, settings)
    if lists is None:
        made = examples.of_pairs(every, targets.values)
    else:
        made = examples.of_lists(lists.filter(pl.col("completion_id").is_in(list(tokens))), params.pair.min_gap)
    split = examples.split(made, held)
    _check_left(folder, split.train, held)
    judged = every.filter(pl.col("prompt_id").is_in(list(held)), pl.col("delta") > 0)
    known = None if numbers is None else _aspects(numbers, split.train, tokens)
    return _Data(tokens, split.train, split.held, judged, targets, known, unprompted, seen)


def _pairs(folder: Path, params: Params) -> tuple[pl.DataFrame, int]:
    """The pairs with the text of their prompt, the delta of a tie 0, and how many have no text."""
    columns = dict.fromkeys((*pairs.COLUMNS, "chosen_id", "rejected_id", *Targets.columns(params.reward)))
    every, unprompted = pairs.trainable(tables.read(tables.find(folder, "pairs"), "pairs", list(columns)), folder)
    tied = pl.col("delta").round(DECIMALS) <= params.pair.min_gap
    return every.with_columns(delta=pl.when(tied).then(0.0).otherwise("delta")), unprompted


def _check_left(folder: Path, rows: pl.DataFrame, held: frozenset[str]) -> None:
    """Raises TableError unless some of the rows are of a prompt that is not held out."""
    if rows["prompt_id"].is_in(list(held)).all():
        raise TableError(f"{folder}: nothing is left to learn from; {len(held):,} prompts are held out")


def held_out(names: Iterable[str], params: Params) -> frozenset[str]:
    """Prompts that are held out: each by its own number, so that they do not depend on what else there is."""
    share, seed = params.reward.held_out, params.seed
    return frozenset(name for name in set(names) if ids.uniform_of(seed, f"held out {name}") < share)


def _aspects(numbers: pl.DataFrame, learned: pl.DataFrame, tokens: Mapping[str, Tokens]) -> Aspects:
    names = pl.concat([learned["chosen"].explode(), learned["rejected"].explode()]).unique()
    return aspects.targets(numbers, tokens, names)


def _trained(data: _Data, tokenizer: Any, model: Any, params: Params, work: Path, folder: Path) -> Any:
    """To the end, from the last checkpoint if there is one."""
    from builder.reward_model import model as scoring

    known = data.aspects.targets if data.aspects else None
    tokenized = examples.tokenized(data.learned, data.tokens, known)
    try:
        trainer = assemble.assemble(tokenized, tokenizer, model, params, work, folder)
    except ValueError as error:
        raise WimError(f"train: {tables.first_line(error)}") from error
    thresholds = scoring.head(trainer.model).thresholds
    if thresholds is not None:
        graded = data.learned["target"].cast(pl.Int64)
        thresholds.begin_at([float((graded == grade).sum()) for grade in range(params.reward.grades)])
    checkpoint = checkpoints.last(work)
    if checkpoint:
        checkpoints.remember_tokens(trainer, checkpoint)
    checkpoints.train(trainer, checkpoint)
    return trainer


def _measured(trainer: Any, data: _Data, params: Params) -> dict[str, Any]:
    from train.reward_model import held_out

    return held_out.measured(
        trainer.model.eval(), data.tokens, data.held, data.judged, data.aspects, params.reward.loss,
        params.train.device_batch,
    )  # fmt: skip


def _stored(trainer: Any, data: _Data, start: Policy, params: Params) -> Stored:
    """What reward.json says."""
    from builder.reward_model import model as scoring

    settings, thresholds = params.reward, scoring.head(trainer.model).thresholds
    told: dict[str, Any] = {"max_prompt": params.train.max_prompt, "max_completion": params.train.max_completion}
    if thresholds is not None:
        told |= {"grades": settings.grades, "grades_from": settings.grades_from, "cuts": data.targets.cuts}
        told["thresholds"] = tuple(thresholds().tolist())
    if data.aspects:
        told |= {"aspects": data.aspects.names, "mean": data.aspects.mean, "std": data.aspects.std}
    return Stored(start.model, start.revision, settings.loss, **told)


def _write(folder: Path, trainer: Any, made: Stored, held: dict[str, Any], about: dict[str, Any]) -> None:
    """RUN/reward, all of it at once."""
    target, making = folder / FOLDER, folder / f".{FOLDER}.tmp"
    shutil.rmtree(making, ignore_errors=True)
    adapter.write(trainer.model, making, made.model)
    stored.write(making, made)
    tables.write_json(making / "metrics.json", held)
    training = metrics.table(trainer.state.log_history)
    tables.write(tables.path(making, "training"), "training", training, about)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(making, target)
