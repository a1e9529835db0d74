"""What a batch service answered: its result files, line by line."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder import records
from builder.engines import Completion
from builder.engines._endpoint_answers import CUT_SHORT, FILTERED, TOO_LONG, TOO_LONG_CODES, count, words
from builder.records import Bad, FieldError
from builder.statuses import Reason

ENDED = ("stop", "end_turn", "stop_sequence")
"""Finish reasons of a text that the model ended by itself; with any other one it may be cut off."""


@dataclass(frozen=True)
class Failure:
    """The service gave no answer; ``kind`` is its own word for it."""

    kind: str
    message: str


@dataclass(frozen=True)
class Result:
    """A line of a result file; ``name`` is its custom_id."""

    name: str
    outcome: Completion | Failure


def results(files: Sequence[Path]) -> Iterator[Result | Bad]:
    """All lines of the files, in their order; the services themselves keep none."""
    for file in files:
        for item in records.read(file):
            if isinstance(item, Bad):
                yield item
                continue
            try:
                yield result(item.fields)
            except FieldError as error:
                yield records.bad(item, error)


def result(fields: Mapping[str, Any]) -> Result:
    """One line, of OpenAI's shape (and that of vllm run_batch) or of Anthropic's. Raises FieldError."""
    name = records.text(fields, "custom_id")
    if name is None:
        raise FieldError("custom_id", "is required")
    if "result" in fields:
        return Result(name, _anthropic_outcome(_object(fields, "result")))
    if "response" in fields or "error" in fields:
        return Result(name, _openai_outcome(fields))
    raise FieldError("response", "is required of OpenAI, or 'result' of Anthropic: is this a file of results?")


def _openai_outcome(fields: Mapping[str, Any]) -> Completion | Failure:
    if fields.get("response") is None:
        return _failure(fields.get("error"), None)
    response = _object(fields, "response")
    status = response.get("status_code", 200)
    if fields.get("error") or status != 200:
        return _failure(fields.get("error") or response.get("body"), status)
    body = _object(response, "body", "response.")
    choice = _first(body, "choices", "response.body.")
    message = _object(choice, "message", "response.body.choices[0].")
    finish, usage = choice.get("finish_reason"), _object(body, "usage", optional=True)
    if finish in CUT_SHORT:
        return Failure(f"finish_reason {finish}", "the server broke off")
    reason = Reason.FILTERED if finish in FILTERED else None
    refusal = records.text(message, "refusal")
    text = _text(message.get("content"), "content") or refusal or ""
    return Completion(text, _finish(finish), count(usage, "completion_tokens"), reason, count(usage, "prompt_tokens"))


def _anthropic_outcome(result: Mapping[str, Any]) -> Completion | Failure:
    kind = result.get("type")
    if kind == "errored":
        return _failure(result.get("error"), None)
    if kind in ("canceled", "expired"):
        return Failure(kind, "")
    if kind != "succeeded":
        raise FieldError("result.type", "must be succeeded, errored, canceled or expired")
    message = _object(result, "message", "result.")
    if not isinstance(message.get("content"), list):
        raise FieldError("result.message.content", "must be a list")
    usage = _object(message, "usage", optional=True)
    read = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return Completion(
        _text(message["content"], "content"),
        _finish(message.get("stop_reason")),
        count(usage, "output_tokens"),
        prompt_tokens=count(usage, *read),
    )


def _failure(error: Any, status: Any) -> Completion | Failure:
    """An error by the word that its service has for it; a prompt beyond the context is an answer, for good."""
    while isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    fields = error if isinstance(error, dict) else {}
    kinds = [kind for kind in (fields.get("code"), fields.get("type"), status) if _is_kind(kind)]
    try:
        message = words(error)
    except RecursionError:
        raise FieldError("error", "is nested too deeply") from None
    if fields.get("code") in TOO_LONG_CODES or (status in (None, 400, 413, 422) and TOO_LONG.search(message)):
        return Completion("", "length", 0, Reason.TOO_LONG)
    return Failure(str(kinds[0]) if kinds else "error", message)


def _is_kind(value: object) -> bool:
    """Whether it is a word or a status code: what is counted by it should stay a short list."""
    return type(value) in (str, int) and re.fullmatch(r"\w[\w .-]{0,60}", str(value)) is not None


def _finish(reason: object) -> str:
    return "stop" if reason in ENDED else "length"


def _text(content: Any, name: str) -> str:
    """A text, or the texts among a list of parts. Raises FieldError for anything else and for what is not Unicode."""
    if not isinstance(content, list):
        return records.text({name: content}, name) or ""
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(records.text(part, "text") or "" for part in parts)


def _object(fields: Mapping[str, Any], name: str, where: str = "", optional: bool = False) -> Mapping[str, Any]:
    value = fields.get(name)
    if optional and not isinstance(value, dict):
        return {}
    if not isinstance(value, dict):
        raise FieldError(where + name, "must be an object")
    return value


def _first(fields: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = fields.get(name)
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        raise FieldError(where + name, "must be a list of objects, with one at least")
    return value[0]
