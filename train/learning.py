"""Learning from what the policy writes and a judge says while it learns: what online DPO and GRPO have in common.

prompts.parquet -> RUN/policy, RUN/training.parquet, and all that was generated and judged: RUN/completions.parquet and
RUN/feedback.parquet, from which embed, rate, pair, stats and explain go on.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from builder import judgements, policy, rows, tables
from builder.blocks import as_dict
from builder.errors import ParamsError, WimError
from builder.ids import file_sha256, fingerprint
from builder.params import Params, Train
from builder.policy import Policy
from builder.statuses import WimStatus
from train import adapter, arguments, checkpoints, judging, prompts
from train.record import Record, keeping
from train.rewards import WimReward

UNTOLD = ("save_steps", "tensorboard")
"""Settings of ``train`` that change nothing that is learned."""


@dataclass(frozen=True)
class Setting:
    """What a learner is made from: the loaded model (train.adapter), its data, its reward, and where it works."""

    params: Params
    start: Policy
    tokenizer: Any
    model: Any
    shape: Any
    data: Any
    reward: WimReward
    work: Path
    callbacks: list[Any]


@dataclass(frozen=True)
class Learner:
    """``block``: the name of its block of the parameters; ``room``: tokens that a completion may have."""

    block: str
    room: int
    verifier: str
    zeta: float
    trainer: Callable[[Setting], Any]


@dataclass(frozen=True)
class Made:
    """Prompts learned from and what was seen of them (prompts.py), completions written, of these without a reward,
    judgements that count by what their text is, and the steps.
    """

    prompts: int
    unprompted: int
    long_prompts: int
    escaped: int
    completions: int
    unrewarded: int
    missing: int
    nothing: int
    unreadable: int
    steps: int


def run(folder: Path, params: Params, policy_folder: Path | None, learner: Learner) -> Made:
    """Train on the run's prompts from the policy in ``policy_folder`` (default: the base model).

    Raises WimError for what this machine, TRL or the judge cannot do. A run that was killed goes on from its last
    checkpoint.
    """
    start = policy.read(policy_folder, params.model)
    file = tables.find(folder, "prompts")
    params, by, itself = judging.who(params, start, policy_folder)
    known = _known(params, learner.block)
    inputs = {"prompts": file}
    told = known | {"start": start.about(), "judge": by.about()}
    work = checkpoints.WORK / fingerprint(told | {"learner": learner.block, "inputs": file_sha256(file)})
    with rows.lock(work):
        arguments.prepare(params)
        tokenizer, model, shape = adapter.load(start, params)
        frame, seen = prompts.trainable(folder, tokenizer, model, params, learner.room)
        _check_references(frame, learner)
        reward = WimReward(params, by, None if itself else judging.source(params, by), learner.verifier, learner.zeta)
        reward.record = Record(work, start.hash(), _ends(tokenizer, model))
        callbacks = [*arguments.callbacks(params, folder), keeping(reward.record)]
        setting = Setting(params, start, tokenizer, model, shape, _dataset(frame), reward, work, callbacks)
        trainer = _assembled(learner, setting)
        if itself:
            reward.source = judging.source(params, by, trainer.model, tokenizer)
        _train(trainer, reward, work)
        adapter.drop_copy(trainer)
        adapter.save(trainer, folder, start)
        metrics = checkpoints.metrics(trainer.state.log_history)
        about: dict[str, Any] = {
            "stage": f"train {learner.block}",
            "params": known,
            "start": start.about(),
            "judge": by.about(),
        }
        made = reward.record.write(folder, about, inputs)
        tables.write(tables.path(folder, "training"), "training", metrics, tables.metadata(inputs=inputs, **about))
        shutil.rmtree(work)  # last: until all is written, a kill must find its checkpoints
    return _made(len(frame), seen, made, metrics)


def check_read(settings: Train, block: str, unread: dict[str, str]) -> None:
    """Raises ParamsError for a setting of ``train`` that is not as it is by default although ``block`` reads it not.

    ``unread``: names, each with what to do instead.
    """
    default = Train()
    for name, instead in unread.items():
        if getattr(settings, name) != getattr(default, name):
            raise ParamsError(f"train.{name}: {getattr(settings, name)!r} has no meaning for train {block}; {instead}")


def _known(params: Params, block: str) -> dict[str, Any]:
    """The parameters that what is learned depends on."""
    names = (block, "judge", "embed", "rating", "rate", "pair")
    train = {name: value for name, value in as_dict(params.train).items() if name not in UNTOLD}
    own = {name: as_dict(getattr(params, name)) for name in names}
    return own | {"train": train, "judged_by": params.judged_by, "engine": params.engine.name, "seed": params.seed}


def _check_references(frame: pl.DataFrame, learner: Learner) -> None:
    without = frame["reference"].null_count()
    if learner.zeta < 1 and without:
        raise WimError(
            f"{learner.block}.verifier: {without:,} of {len(frame):,} prompts have no reference to be verified by"
        )


def _dataset(frame: pl.DataFrame) -> Any:
    from datasets import Dataset

    return Dataset(frame.to_arrow())


def _ends(tokenizer: Any, model: Any) -> set[int]:
    """Token ids at which generation stops, as TRL has them."""
    stops = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *(stops if isinstance(stops, list) else [stops])} - {None}


def _assembled(learner: Learner, setting: Setting) -> Any:
    try:
        return arguments.quiet(learner.trainer(setting))
    except ValueError as error:
        raise WimError(f"train: {tables.first_line(error)}") from error


def _train(trainer: Any, reward: WimReward, work: Path) -> None:
    """To the end, from the last checkpoint if there is one."""
    assert reward.record is not None
    checkpoint = checkpoints.last(work)
    reward.written = reward.record.resume(checkpoints.step(checkpoint) if checkpoint else 0)
    if checkpoint:
        # With a folder beside the adapter's own files, transformers would load that and leave the policy as it was.
        shutil.rmtree(checkpoint / adapter.COPY, ignore_errors=True)
        checkpoints.tell(checkpoint)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _made(count: int, seen: prompts.Seen, made: dict[str, pl.DataFrame], metrics: pl.DataFrame) -> Made:
    completions, feedback = made["completions"], judgements.used(made["feedback"])
    said = dict(feedback.group_by("wim_status").len().iter_rows())
    return Made(
        count,
        **vars(seen),
        completions=len(completions),
        unrewarded=completions["reward"].null_count(),
        missing=said.get(str(WimStatus.MISSING), 0),
        nothing=said.get(str(WimStatus.NOTHING), 0),
        unreadable=said.get(str(WimStatus.UNREADABLE), 0),
        steps=int(metrics["step"].max() or 0),  # type: ignore[arg-type]
    )
