"""The judges of a run: one, or the jury of ``judge.jury``, each with its engine, its model and its words."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from builder import plugins
from builder.errors import ParamsError
from builder.judges import Judge, PairJudge, compares
from builder.language import policy
from builder.language.policy import Policy
from builder.params import Model, Params


@dataclass(frozen=True)
class Juror:
    """``label``: the judge's name in the tables; ``params``: with its own block ``judge`` and its own engine."""

    label: str
    params: Params
    by: Policy


def panel(params: Params, policy_folder: Path | None = None) -> list[Juror]:
    """Who judges. A juror with a model of its own is that model, whatever ``judged_by`` says."""
    found = []
    for settings, own in zip(params.judge.jurors(), params.judge.jury or ({},), strict=True):
        each = dataclasses.replace(params, judge=settings, judged_by="base" if "model" in own else params.judged_by)
        found.append(Juror(settings.label or settings.name, *who(each, policy_folder)))
    return found


def who(params: Params, policy_folder: Path | None) -> tuple[Params, Policy]:
    """The parameters with the judge's own engine, and the policy that judges.

    ``judged_by``: ``base``, ``current`` (the policy of ``policy_folder``) or a model.
    """
    if params.judge.engine:
        params = dataclasses.replace(params, engine=dataclasses.replace(params.engine, name=params.judge.engine))
    model = Model(params.judge.model) if params.judge.model else params.model
    if params.judged_by == "base":
        return params, policy.base(model)
    if params.judged_by == "current":
        return params, policy.read(policy_folder, params.model)
    return params, policy.base(Model(params.judged_by))


def load(params: Params, scale: tuple[float, float] | None = None) -> Judge | PairJudge:
    """The judge of one juror's parameters; ``scale``: another than rating.scale."""
    made = plugins.load("judges", params.judge.name).Judge
    judge: Judge | PairJudge = made(scale or params.rating.scale, params.judge)
    return judge


def single(params: Params, where: str, scale: tuple[float, float] | None = None) -> Judge:
    """The one judge of single completions. Raises ParamsError where the parameters name another or several."""
    if params.judge.jury:
        raise ParamsError(f"judge.jury: {where} one judge; leave judge.jury out")
    judge = load(params, scale)
    if compares(judge):
        raise ParamsError(f"judge.name: {params.judge.name} compares two completions, and {where} a judge of one")
    return judge
