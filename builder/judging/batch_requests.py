"""A request as a line of a batch service's file: what each service calls things, and what it takes at most."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from builder import ids
from builder.engines import Request
from builder.errors import EngineError
from builder.language import chat, control
from builder.language.chat import Message

LIMITS = {"openai": (50_000, 200_000_000), "anthropic": (100_000, 256_000_000)}
"""Requests and bytes that a service takes at a time."""
HOTTEST = {"openai": 2.0, "anthropic": 1.0}
"""The highest temperature that a service takes."""


def line(request: Request, key: str, format: str, extra_body: dict[str, Any]) -> tuple[bytes, int]:
    """The line for ``openai`` or ``anthropic``, and how many control strings were escaped in it; ``key`` names it.

    Raises EngineError for what the service cannot do.
    """
    messages, escaped = escaped_messages(request.messages)
    body = {"model": request.policy.model} | _BODIES[format](request, messages) | extra_body
    body = {name: value for name, value in body.items() if value is not None}
    _check_temperature(body.get("temperature", 0), format)
    # ASCII, so that no client makes it larger or finds a line's end within it.
    return json.dumps(_ENVELOPES[format](key, body), separators=(",", ":")).encode() + b"\n", escaped


def escaped_messages(messages: Sequence[Message]) -> tuple[list[Message], int]:
    """Messages in which no text can pass for a turn's end, and how many control strings they held."""
    for message in messages:
        if message["role"] not in chat.ROLES:  # templates write it between control strings
            raise EngineError(f"a message has the role {message['role']!r}, which no chat template knows")
    texts = [control.escape(message["content"]) for message in messages]
    turns = [Message(role=m["role"], content=text) for m, (text, _) in zip(messages, texts, strict=True)]
    return turns, sum(count for _, count in texts)


def _openai(request: Request, messages: Sequence[Message]) -> dict[str, Any]:
    """A chat completion; the seed says nothing where nothing is drawn."""
    sampling = request.sampling
    body = {"messages": messages, "max_completion_tokens": sampling.max_tokens, "temperature": sampling.temperature}
    return body | ({"seed": ids.folded(request.seed)} if sampling.temperature else {})


def _anthropic(request: Request, messages: Sequence[Message]) -> dict[str, Any]:
    """A message; the system's turn stands beside the others, and there are no seeds."""
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    turns = [message for message in messages if message["role"] != "system"]
    sampling = request.sampling
    body = {"messages": turns, "max_tokens": sampling.max_tokens, "temperature": sampling.temperature}
    return ({"system": system} if system else {}) | body


_BODIES = {"openai": _openai, "anthropic": _anthropic}
_ENVELOPES: dict[str, Callable[[str, Mapping[str, Any]], dict[str, Any]]] = {
    "openai": lambda key, body: {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body},
    "anthropic": lambda key, body: {"custom_id": key, "params": body},
}


def _check_temperature(temperature: Any, format: str) -> None:
    if isinstance(temperature, (int, float)) and temperature > HOTTEST[format]:
        raise EngineError(
            f"{format} takes temperatures up to {HOTTEST[format]:g}, not {temperature:g}:"
            " lower judge.temperature and judge.retry_temperature"
        )
