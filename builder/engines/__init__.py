"""Engines: who generates text. One file per engine; requests in, completions out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from builder.chat import Message
from builder.params import Contrastive, Params
from builder.policy import Policy
from builder.statuses import Reason


@dataclass(frozen=True)
class Sampling:
    """How text is drawn. Temperature 0 is greedy; ``contrastive`` replaces drawing altogether."""

    temperature: float
    max_tokens: int
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    contrastive: Contrastive | None = None


@dataclass(frozen=True)
class Request:
    """One text to generate: by ``policy``, from ``messages``, with the row's own ``seed``."""

    messages: tuple[Message, ...]
    policy: Policy
    seed: int
    sampling: Sampling


@dataclass(frozen=True)
class Completion:
    """``finish_reason``: ``stop`` or ``length``; ``reason`` says why nothing could be generated."""

    text: str
    finish_reason: str
    tokens: int
    reason: Reason | None = None


class Engine(Protocol):
    """A module of this folder holds a class ``Engine`` made from the parameters.

    Loading is put off until the first request. A setting that the engine cannot honour raises
    EngineError before anything is generated.
    """

    def __init__(self, params: Params) -> None: ...

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion for each request, in their order."""
        ...
