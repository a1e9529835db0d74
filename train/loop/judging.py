"""The judge in the loop: the model that is being trained, its adapter off (fixed) or on (moving), or another model."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from builder.engines import Completion, Request
from builder.engines.transformers import Engine
from builder.errors import EngineError
from builder.generate import Lazy
from builder.judging import panel
from builder.language.policy import Policy
from builder.params import Params

MOVING = "current"
"""The value of ``judged_by`` that names the policy in training."""


class Source(Protocol):
    """Where the judge's words come from."""

    def generate(self, requests: Iterator[Request]) -> Iterable[tuple[int, Completion]]:
        """Answers, each with its request's place."""
        ...


class InMemory(Engine):
    """The embedded engine around a PEFT model that is in memory already and in the middle of its training.

    Whoever asks gets all answers at once, and the model back as it was: its mode, its adapter. Other than the
    engine of the stages it computes in the training's precision.
    """

    def __init__(self, params: Params, model: Any, tokenizer: Any, fixed: bool) -> None:
        self.settings = params.engine.transformers
        self.trained, self.tokenizer, self.fixed = model, tokenizer, fixed
        self.model = model.get_base_model()  # the adapter's layers lie in it
        self.adapters = {}

    def generate(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        training = self.trained.training
        self.trained.eval()
        try:
            with self.trained.disable_adapter() if self.fixed else contextlib.nullcontext():
                return iter(list(super().generate(requests)))
        finally:
            self.trained.train(training)

    def _switch_to(self, policy: Policy) -> None:
        """The one policy that is asked is the model as ``generate`` has set it."""


def who(params: Params, start: Policy, start_folder: Path | None) -> tuple[Params, Policy, bool]:
    """The parameters with the judge's own engine, who judges, and whether that is the model in training.

    It is, unless the parameters name another model or another engine for the judge. Raises EngineError for a moving
    judge in another engine: that has the weights of the start, and not those that are learned.
    """
    params, by = panel.who(params, start_folder)
    same = (by.model, by.revision) == (start.model, start.revision)
    itself = same and params.judge.engine in (None, "transformers")
    if params.judged_by == MOVING and not itself:
        raise EngineError(
            f"judge.engine: {params.judge.engine} does not hold the policy in training, which is to judge "
            f"(judged_by: {MOVING}); set judge.engine to null"
        )
    return params, by, itself


def source(params: Params, by: Policy, model: Any = None, tokenizer: Any = None) -> Source:
    """The model in memory as its own judge; without one, the engine of the parameters, loaded when it is first asked.

    ``model``: a PEFT model. Raises EngineError if it is none: then it has no adapter to switch.
    """
    if model is None:
        return Lazy(params, [by])
    if not hasattr(model, "disable_adapter"):
        raise EngineError("only a model with a PEFT adapter can be its own judge; name another judge.model")
    return InMemory(params, model, tokenizer, fixed=params.judged_by != MOVING)
