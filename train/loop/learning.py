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

from builder import embed, judgements, rate, rows, tables
from builder.errors import WimError
from builder.ids import fingerprint
from builder.language import models, policy
from builder.language.policy import Policy
from builder.params import Params
from builder.params.blocks import as_dict
from builder.reward_model import scores
from builder.reward_model.scores import Scorer
from builder.statuses import WimStatus
from train import adapter, arguments
from train.loop import judging, prompts
from train.loop.record import Record, keeping
from train.loop.rewards import WimReward
from train.running import checkpoints, metrics, workers


@dataclass(frozen=True)
class Setting:
    """What a learner is made from: the model (train.adapter), data and reward, the folders to work in and write to."""

    params: Params
    start: Policy
    tokenizer: Any
    model: Any
    shape: Any
    data: Any
    reward: WimReward
    work: Path
    folder: Path


@dataclass(frozen=True)
class Learner:
    """``block``: the name of its block of the parameters; ``room``: tokens that a completion may have. ``scorer``: a
    reward model in the judge's place.
    """

    block: str
    room: int
    verifier: str
    zeta: float
    trainer: Callable[[Setting], Any]
    scorer: Scorer | None = None


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

    Raises WimError for what this machine, TRL or the judge cannot do, and for a run whose completions are not of such
    a training. A run that was killed goes on from its last checkpoint.
    """
    _check_replaceable(folder)
    start = policy.read(policy_folder, params.model)
    inputs = {"prompts": tables.find(folder, "prompts")}
    params, by, itself = judging.who(params, start, policy_folder)
    about: dict[str, Any] = {"stage": f"train {learner.block}", "params": _known(params, learner.block)}
    scorer = learner.scorer
    about |= {"start": start.about()}
    about |= {"reward_model": scores.identity(scorer.folder, params)} if scorer else {"judge": by.about()}
    content = {"embedder": embed.identity(params.embed), "inputs": tables.fingerprints(inputs)}
    work = checkpoints.WORK / fingerprint(about | content)
    with rows.lock(work):
        arguments.prepare(params)
        source = None if itself or scorer else judging.source(params, by)
        reward = WimReward(params, by, source, learner.verifier, learner.zeta, scorer)
        setting, seen = _setting(folder, params, start, reward, work, learner)
        trainer = _assembled(learner, setting)
        if itself and not scorer:
            reward.source = judging.source(params, by, trainer.model, setting.tokenizer)
        record = _train(trainer, setting)
        adapter.save(trainer, folder, start)
        made = record.write(folder, about, inputs)
        training = metrics.table(trainer.state.log_history)
        tables.write(tables.path(folder, "training"), "training", training, tables.metadata(inputs=inputs, **about))
        shutil.rmtree(work)  # last: until all is written, a kill must find its checkpoints
    return _made(len(setting.data), seen, made, training)


def _check_replaceable(folder: Path) -> None:
    """What was ingested, or judged at some expense, is not written over."""
    file = tables.path(folder, "completions")
    stage = str(tables.read_metadata(file).get("stage", "others")) if file.is_file() else "train"
    if not stage.startswith("train"):
        raise WimError(f"{file}: made by {stage}, and would be written over; take a run folder of its own")


def _setting(
    folder: Path, params: Params, start: Policy, reward: WimReward, work: Path, learner: Learner
) -> tuple[Setting, prompts.Seen]:
    """The loaded model, the prompts that can be learned from, and what was seen of them."""
    tokenizer, model, shape = adapter.load(start, params)
    frame, seen = prompts.trainable(folder, tokenizer, model, params, learner.room)
    without = frame["reference"].null_count()
    if learner.zeta < 1 and without:
        told = f"{without:,} of {len(frame):,} prompts have no reference to be verified by"
        raise WimError(f"{learner.block}.verifier: {told}")
    setting = Setting(params, start, tokenizer, model, shape, _dataset(frame), reward, work, folder)
    return setting, seen


def _known(params: Params, block: str) -> dict[str, Any]:
    """The parameters that what is learned depends on; no paths."""
    names = (block, "judge", "embed", "rating", "rate", "pair")
    own = {name: as_dict(getattr(params, name)) for name in names}
    own["judge"]["model"] = params.judge.model and models.label(params.judge.model)
    own["rate"] = rate.told(params.rate)
    own["embed"]["model"] = models.label(params.embed.model)
    judged_by = models.label(params.judged_by)
    return own | {
        "train": checkpoints.told(params.train),
        "judged_by": judged_by,
        "engine": params.engine.name,
        "seed": params.seed,
    }


def _dataset(frame: pl.DataFrame) -> Any:
    from datasets import Dataset

    return Dataset(frame.to_arrow())


def _ends(tokenizer: Any, model: Any) -> set[int]:
    """Token ids at which generation stops, as TRL has them."""
    stops = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *(stops if isinstance(stops, list) else [stops])} - {None}


def _assembled(learner: Learner, setting: Setting) -> Any:
    try:
        trainer = learner.trainer(setting)
        workers.check(trainer, setting.params.train)
        return arguments.quiet(trainer)
    except ValueError as error:
        raise WimError(f"train: {tables.first_line(error)}") from error


def _train(trainer: Any, setting: Setting) -> Record:
    """To the end, from the last checkpoint if there is one. Gives what was generated and judged."""
    record = Record(setting.work, setting.start.hash(), _ends(setting.tokenizer, trainer.model))
    trainer.add_callback(keeping(record))
    checkpoint = checkpoints.last(setting.work)
    setting.reward.record = record
    setting.reward.written = record.resume(checkpoints.step(checkpoint) if checkpoint else 0)
    if checkpoint:
        # With a folder beside the adapter's own files, transformers would load that and leave the policy as it was.
        shutil.rmtree(checkpoint / adapter.COPY, ignore_errors=True)
    checkpoints.train(trainer, checkpoint)
    adapter.drop_copy(trainer)  # it would be saved with the policy
    return record


def _made(count: int, seen: prompts.Seen, made: dict[str, pl.DataFrame], training: pl.DataFrame) -> Made:
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
        steps=int(training["step"].max() or 0),  # type: ignore[arg-type]
    )
