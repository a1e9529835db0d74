"""`wim plan [RUN]`: hours, memory, disk and money of one round of one arm, each with what it is calculated from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.plan import disk, engine, hours, known, memory, model, prompts, speed, work
from analysis.plan.engine import GIB
from analysis.plan.given import Given
from analysis.plan.known import Known
from analysis.plan.memory import Memory
from analysis.plan.model import Model
from analysis.plan.speed import Trial
from analysis.plan.work import Work
from builder import encoder
from builder.errors import EngineError, UsageError
from builder.judging import panel
from builder.judging.panel import Juror
from builder.language import models, policy
from builder.params import Params


@dataclass(frozen=True)
class Stage:
    """``kind``: complete, judge, embed or train; ``params``: with the judge's own engine, where it is one."""

    kind: str
    params: Params
    label: str
    work: Work
    memory: Memory | None


def run(folder: Path | None, params: Params, given: Given) -> dict[str, Any]:
    """The plan as one JSON object.

    Raises UsageError for GPUs that cannot be shared out, InputError without a prompt, EngineError where nothing is
    known of a model.
    """
    jury = _jury(params)
    for stage, each in {"complete": params, **{name: juror.params for name, juror in jury.items()}}.items():
        _check_shared(stage, each, given.gpus)
    said = known.read(folder)
    table, origin = prompts.found(folder, params, given)
    # First of all: loading is timed, and later what it imports would be there already.
    trial = speed.trial(table, params, jury, given.trial, given.gpus) if given.trial else None
    asked = prompts.measured(table, origin, given, _counter(params, policy.base(params.model)))
    stages = _stages(asked, params, jury, said, given, trial)
    result: dict[str, Any] = {"run": str(folder) if folder else None, "prompts": asked.count, "gpus": given.gpus}
    result |= {"gpu_memory": given.gpu_memory, "price": given.price}
    told = {name: _told(name, stage, said, given, trial) for name, stage in stages.items()}
    return result | {"stages": told, "disk": _disk(stages, asked, params, said, given), "total": _total(told)}


def _jury(params: Params) -> dict[str, Juror]:
    """The judges by the names of their stages."""
    found = panel.panel(params)
    return {"judge" if len(found) == 1 else f"judge {juror.label}": juror for juror in found}


def _check_shared(stage: str, params: Params, gpus: int) -> None:
    group = engine.group(params)
    if gpus % group:
        raise UsageError(
            f"--gpus {gpus}: {stage} wants groups of {group} (tensor_parallel_size x pipeline_parallel_size)"
        )


def _counter(params: Params, by: policy.Policy) -> prompts.Counter:
    """Of the model that reads; what a hosted one reads is not told by a tokenizer of ours unless one is named."""
    settings = params.engine
    name: str | None = settings.endpoint.tokenizer if settings.name == "endpoint" else None
    if not name and settings.name != "echo" and not engine.is_hosted(params):
        name = by.model
    return prompts.Counter(name, by.revision, settings.transformers.trust_remote_code)


def _stages(
    asked: prompts.Prompts,
    params: Params,
    jury: Mapping[str, Juror],
    said: Known,
    given: Given,
    trial: Trial | None,
) -> dict[str, Stage]:
    measured = trial.measured if trial else {}
    by = policy.base(params.model)
    completions = work.complete(asked, params, said, measured.get("complete"))
    stages = {"complete": _generating("complete", params, by, completions, given)}
    judged = {}
    for name, juror in jury.items():
        found = work.judge(juror, asked, completions, _counter(juror.params, juror.by), said, measured.get(name))
        judged[name] = (juror, found)
        stages[name] = _generating("judge", juror.params, juror.by, found, given)
    texts = work.embed(completions, judged, said, measured.get("embed"))
    stages["embed"] = _embedding(params, texts, given)
    learned = work.train(asked, completions, params, said)
    if learned.rows:
        stages["train"] = _training(params, learned, given)
    return stages


def _generating(kind: str, params: Params, by: policy.Policy, found: Work, given: Given) -> Stage:
    """Of somebody else's model, and of echo, which has none, the memory is not ours to plan."""
    if engine.is_hosted(params) or params.engine.name == "echo":
        return Stage(kind, params, models.label(by.model), found, None)
    described = model.read(by.model, by.revision, kind, given)
    return Stage(kind, params, described.name, found, memory.generating(described, found, params, _gpu(given)))


def _embedding(params: Params, found: Work, given: Given) -> Stage:
    label = models.label(params.embed.model)
    described = _embedder(params, given)
    return Stage("embed", params, label, found, memory.embedding(described, _gpu(given)) if described else None)


def _embedder(params: Params, given: Given) -> Model | None:
    """None where its config cannot be read: an embedder is small, and no reason to plan nothing."""
    try:
        return model.read(encoder.model_name(params.embed), params.embed.revision, "embed", given)
    except EngineError:
        return None


def _training(params: Params, found: Work, given: Given) -> Stage:
    label, lora = models.label(params.model.name), params.train.lora
    try:
        described = model.read(params.model.name, params.model.revision, "complete", given)
    except EngineError:  # of a hosted or an echoed policy
        return Stage("train", params, label, found, None)
    adapter = model.adapter_parameters(params.model.name, params.model.revision, lora.r, lora.targets)
    return Stage("train", params, label, found, memory.training(described, adapter, found, params, _gpu(given)))


def _gpu(given: Given) -> float | None:
    """Bytes of one."""
    return given.gpu_memory * GIB if given.gpu_memory else None


def _told(name: str, stage: Stage, said: Known, given: Given, trial: Trial | None) -> dict[str, Any]:
    """A stage as plain values; the assumptions are all that its figures hang on."""
    how = hours.speed(name, stage.kind, given, trial, said, engine.rows_together(stage.params))
    took = hours.spent(stage.work, how, stage.kind, stage.params, given)
    by = {"embed": "sentence-transformers", "train": "trl"}.get(stage.kind, stage.params.engine.name)
    result = {"engine": by, "model": stage.label, "rows": stage.work.rows}
    result |= {"read": stage.work.read, "tokens": stage.work.tokens, "tokens_per_second": how.rate}
    result |= {"gpus": took.gpus, "hours": took.hours, "cost": took.cost}
    result |= {"memory": _memory(stage.memory) if stage.memory else None}
    words = [*stage.work.told, *took.told, *(stage.memory.told if stage.memory else ())]
    return result | {"assumptions": words}


def _memory(needed: Memory) -> dict[str, Any]:
    fields = ("weights", "cache_per_token", "rows", "row_tokens", "cache", "other", "total", "limit", "fits")
    return {name: getattr(needed, name) for name in fields}


def _disk(
    stages: Mapping[str, Stage], asked: prompts.Prompts, params: Params, said: Known, given: Given
) -> dict[str, Any]:
    embedder = _embedder(params, given)
    pairs = math.ceil(asked.count * work.paired(params, said))
    judges = [stage.work for stage in stages.values() if stage.kind == "judge"]
    dimensions = embedder.hidden if embedder else None
    needed = disk.needed(stages["complete"].work, judges, stages["embed"].work, pairs, dimensions, said)
    return {**needed.tables, ".wim": needed.kept, "total": needed.total, "assumptions": list(needed.told)}


def _total(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Sums of what is known; ``unknown``: the stages whose hours are not, or else whose cost."""
    sums: dict[str, Any] = {}
    for name in ("hours", "cost"):
        found = [stage[name] for stage in stages.values() if stage[name] is not None]
        sums[name] = sum(found) if found else None
    return sums | {"unknown": [name for name, stage in stages.items() if stage["hours"] is None]}
