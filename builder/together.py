"""complete and judge in one process: one engine in memory serves the policy and the judge, in turn."""

from pathlib import Path
from typing import Any

from builder import complete, judge, sources
from builder.errors import EngineError
from builder.judging import panel
from builder.language import policy
from builder.params import Params


def run(folder: Path, params: Params, policy_folder: Path | None = None) -> dict[str, Any]:
    """Write completions.parquet and feedback.parquet, the same as by the two stages one after the other.

    Raises EngineError where the judge has another engine or another base model than the policy.
    """
    by, jury = policy.read(policy_folder, params.model), panel.panel(params, policy_folder)
    for juror in jury:
        if juror.params.engine.name != params.engine.name or juror.by.base() != by.base():
            told = f"the judge {juror.label} has a model or an engine of its own"
            raise EngineError(f"{told}: run `wim complete` and `wim judge` by turns")
    also = [each for each in map(policy.named, params.complete.also) if each.base() == by.base()]
    source = sources.source(params, [by, *also, *(juror.by for juror in jury)])
    completed = complete.run(folder, params, policy_folder, source)
    return {"complete": vars(completed), "judge": vars(judge.run(folder, params, policy_folder, source))}
