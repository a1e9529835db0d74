"""Engines: who generates text. One file per engine; a stream of requests in, completions out as they are ready."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from builder.language.chat import Message
from builder.language.policy import Policy
from builder.params import Contrastive, Params
from builder.statuses import Reason


@dataclass(frozen=True)
class Sampling:
    """How text is drawn. Temperature 0 is greedy; ``contrastive`` replaces drawing altogether.

    ``pattern``: a regular expression that the whole text must match (structured output), or None.
    """

    temperature: float
    max_tokens: int
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    contrastive: Contrastive | None = None
    pattern: str | None = None


@dataclass(frozen=True)
class Request:
    """One text to generate: by ``policy``, from ``messages``, with the row's own ``seed``."""

    messages: tuple[Message, ...]
    policy: Policy
    seed: int
    sampling: Sampling


@dataclass(frozen=True)
class Completion:
    """``finish_reason``: ``stop`` or ``length``; ``reason`` says why nothing could be generated.

    ``tokens`` and ``prompt_tokens`` count what was generated and what was read. ``escaped`` counts the
    control strings of chat templates that had to be escaped because text, and not token ids, left our hands.
    """

    text: str
    finish_reason: str
    tokens: int
    reason: Reason | None = None
    prompt_tokens: int = 0
    escaped: int = 0


class Engine(Protocol):
    """A module of this folder holds a class ``Engine`` and a function ``identity``.

    An engine is made when the first text is wanted. ``policies`` are all that it will be asked for,
    so that what it loads can be checked at once. Raises EngineError if it cannot serve them. An engine that holds
    more than Python frees by itself has a method ``close``.
    """

    def __init__(self, params: Params, policies: Sequence[Policy]) -> None: ...

    def generate(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        """Completions as they are ready, each with its request's place in ``requests``.

        Requests are taken as there is room for them, so that millions need no memory. A setting that
        the engine cannot honour raises EngineError before anything is generated from that request.
        """
        ...


class Module(Protocol):
    """What a file of this folder offers."""

    Engine: type[Engine]

    @staticmethod
    def identity(params: Params) -> dict[str, Any]:
        """The engine's settings that can change a text (JSON-ready); batch sizes, say, are none of them."""
        ...
