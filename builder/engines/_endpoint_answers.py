"""What a server's answer means: a completion, worth another try, or an error that ends the run."""

import json
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from builder.engines import Completion
from builder.screen import printable
from builder.statuses import Reason

if TYPE_CHECKING:
    from openai import APIStatusError

LONGEST = 300
"""Characters of a server's words that an error quotes."""
TOO_LONG_CODES = ("context_length_exceeded", "exceed_context_size_error")
# In this order: vLLM and OpenAI, llama.cpp (two), SGLang (two), Anthropic's and Text Generation Inference's words.
TOO_LONG = re.compile(
    r"maximum (context|model) length|exceeds the available context size|context size has been exceeded"
    r"|longer than the model's context|exceeds the maximum allowed length|context (limit|window)|prompt is too long"
    r"|`inputs` tokens",
    re.IGNORECASE,
)
FILTERED = ("content_filter", "content_policy_violation", "invalid_prompt")
CUT_SHORT = ("abort", "error", "cancelled")
"""Finish reasons of a text that the server did not bring to an end."""


class Again(Exception):
    """Worth another try.

    ``wait``: the seconds that the server asks for, if it does. ``everyone``: all requests have to wait.
    ``last``: what the row becomes if it was the last try.
    """

    def __init__(
        self, what: str, wait: float | None = None, everyone: bool = False, last: Completion | None = None
    ) -> None:
        super().__init__(what)
        self.wait, self.everyone, self.last = wait, everyone, last


def completion(body: str) -> Completion:
    """The completion in a response's body. Raises Again if there is none in it."""
    try:
        answer = json.loads(body)
        if error := answer.get("error"):
            raise Again(f"an error in place of an answer: {words(error)}", last=_too_long(words(error)))
        return _completion(answer["choices"][0], answer.get("usage") or {})
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Again(f"an answer that cannot be read: {words(body) or 'nothing'}") from error


def _completion(choice: Mapping[str, Any], usage: Mapping[str, Any]) -> Completion:
    message = choice["message"] if "message" in choice else {"content": choice["text"]}
    finish, refusal = choice.get("finish_reason"), message.get("refusal")
    if finish in CUT_SHORT:
        raise Again(f"the server broke off: finish_reason {finish!r}")
    return Completion(
        _text(message.get("content") or refusal),
        "length" if finish in ("length", "max_tokens") else "stop",
        count(usage, "completion_tokens"),
        Reason.FILTERED if finish in FILTERED else Reason.REFUSAL if refusal else None,
        prompt_tokens=count(usage, "prompt_tokens"),
    )


def count(usage: Mapping[str, Any], *names: str) -> int:
    """The sum of some numbers of tokens; what is no such number counts as none."""
    found = [usage.get(name) for name in names]
    total = sum(value for value in found if isinstance(value, int) and value >= 0)
    return total if total < 2**31 else 0


def _text(content: Any) -> str:
    """A content is a text, null, or a list of parts, of which some are text. Half a surrogate pair is no text."""
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content if part.get("type") == "text")
    return str(content or "").encode(errors="replace").decode()


def without(error: "APIStatusError") -> Completion | None:
    """The completion of a row that the server will never answer: its prompt is too long, or filtered."""
    if error.status_code not in (400, 413, 422):
        return None
    if error.code in FILTERED or error.type in FILTERED:
        return Completion("", "stop", 0, Reason.FILTERED)
    if error.code in TOO_LONG_CODES or error.type in TOO_LONG_CODES:
        return Completion("", "length", 0, Reason.TOO_LONG)
    return _too_long(words(error.body))


def _too_long(said: str) -> Completion | None:
    return Completion("", "length", 0, Reason.TOO_LONG) if TOO_LONG.search(said) else None


def again(error: "APIStatusError") -> Again | None:
    """Another try for 408, 409, 425, 429 and 5xx; None: a refusal for good."""
    status = error.status_code
    if (status not in (408, 409, 425, 429) and status < 500) or error.code == "insufficient_quota":
        return None
    said = words(error.body)
    # llama.cpp: several long texts at once can exceed a context that each of them fits into.
    last = _too_long(said)
    wait = asked_wait(error.response.headers)
    return Again(f"{status} {said}".strip(), wait, everyone=status == 429 or wait is not None, last=last)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait for, by retry-after-ms or Retry-After (seconds or an HTTP date)."""
    asked = headers.get("retry-after", "")
    for value, unit in ((headers.get("retry-after-ms", ""), 1e-3), (asked, 1.0)):
        if re.fullmatch(r"\s*\d{1,12}(\.\d*)?\s*", value):
            return float(value) * unit
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def words(body: object) -> str:
    """What the server says, in one line."""
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or json.dumps(body)
    said = printable(" ".join(str(body or "").split()))
    return said if len(said) <= LONGEST else said[:LONGEST] + "..."
