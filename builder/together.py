"""complete and judge in one process: one engine in memory serves the policy and the judge, in turn."""

from pathlib import Path
from typing import Any

from builder import complete, generate, judge, policy
from builder.errors import EngineError
from builder.params import Params


def run(folder: Path, params: Params, policy_folder: Path | None = None) -> dict[str, Any]:
    """Write completions.parquet and feedback.parquet, the same as by the two stages one after the other.

    Raises EngineError where the judge has another engine or another base model than the policy.
    """
    by, (judged, judging) = policy.read(policy_folder, params.model), judge.who(params, policy_folder)
    if judged.engine.name != params.engine.name or (judging.model, judging.revision) != (by.model, by.revision):
        raise EngineError("the judge has a model or an engine of its own: run `wim complete` and `wim judge` by turns")
    source = generate.Lazy(params, [by, judging])
    completed = complete.run(folder, params, policy_folder, source)
    return {"complete": vars(completed), "judge": vars(judge.run(folder, params, policy_folder, source))}
