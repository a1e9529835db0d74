"""One request to a server, tried until there is an answer or no hope for one."""

import asyncio
import json
import os
import random
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from builder.engines import Completion
from builder.engines import _endpoint_answers as answers
from builder.engines._endpoint_answers import Again
from builder.engines._limits import Gate, Window
from builder.errors import EngineError
from builder.params import EndpointEngine

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

PATHS = {"chat": "/chat/completions", "completions": "/completions"}
FIRST, MOST = 0.5, 60.0
"""Seconds before the second try, doubled for each further one up to the most."""
PATIENCE = 3600.0
"""A server that asks for a longer pause, in seconds, ends the run instead."""
QUIET = 30.0


@dataclass
class Memory:
    """What outlives a connection. ``cap``: the field that limits an answer, as the server calls it."""

    requests: Window
    tokens: Window
    cap: str = "max_tokens"
    told: float = field(default=float("-inf"))


def check(settings: EndpointEngine) -> None:
    """Raises EngineError without the package openai, and if the key cannot be one."""
    try:
        import openai  # noqa: F401
    except ImportError as error:
        raise EngineError("the engine endpoint needs the package openai: pip install -e '.[endpoint]'") from error
    key = _key(settings)
    if not key.isascii() or (key and not key.isprintable()):
        raise EngineError(f"the environment variable {settings.key} holds characters that cannot be part of a key")


def connect(settings: EndpointEngine) -> "AsyncOpenAI":
    """A client for one event loop."""
    from openai import AsyncOpenAI

    # The client's own retries are off: they refuse a Retry-After of over two minutes, know nothing of
    # the other requests, and take a body that is not JSON for an answer.
    return AsyncOpenAI(
        base_url=settings.base_url, api_key=_key(settings) or "none", timeout=settings.timeout, max_retries=0
    )


def _key(settings: EndpointEngine) -> str:
    return os.environ.get(settings.key, "").strip()


def shown(url: str) -> str:
    """A URL without user, password and query: any of them may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Connection:
    """Sends requests over one client; all of them share the limits of ``memory``."""

    def __init__(self, client: "AsyncOpenAI", settings: EndpointEngine, memory: Memory) -> None:
        self.client, self.settings, self.memory = client, settings, memory
        self.gate = Gate(memory.requests, memory.tokens)
        self.url = shown(settings.base_url.rstrip("/") + PATHS[settings.api])

    async def ask(self, body: Mapping[str, Any], estimate: int) -> Completion:
        """The answer to ``body``; ``estimate``: the tokens that it may read and write.

        Raises EngineError after the last retry, and at once for what no retry can mend.
        """
        tries = 0
        while True:
            tries += 1
            entry = await self.gate.enter(estimate)
            try:
                done = await self._try(body)
            except Again as again:
                self.memory.tokens.correct(entry, 0)
                if tries <= self.settings.retries:
                    await self._back_off(again, tries)
                elif again.last:
                    return again.last
                else:
                    raise self._given_up(again, tries) from again
            else:
                used = done.prompt_tokens + done.tokens
                self.memory.tokens.correct(entry, used if used or done.reason else estimate)
                return done

    async def _try(self, body: Mapping[str, Any]) -> Completion:
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        cap = self.memory.cap if self.settings.api == "chat" else "max_tokens"
        sent = {cap if name == "max_tokens" else name: value for name, value in body.items()}
        try:
            # The client's time-out is for silence; this one is for the whole answer.
            async with asyncio.timeout(self.settings.timeout):
                return answers.completion(await self.client.post(PATHS[self.settings.api], cast_to=str, body=sent))
        except (TimeoutError, APITimeoutError) as error:
            raise Again(f"no answer within {self.settings.timeout:g} s") from error
        except APIConnectionError as error:
            cause = error.__cause__ or error
            raise Again(f"no connection, or a broken one: {str(cause) or type(cause).__name__}") from error
        except APIStatusError as error:
            if without := answers.without(error):
                return without
            if again := answers.again(error):
                raise again from error
            if cap == "max_tokens" and self.settings.api == "chat" and _wants_other_cap(error):
                self.memory.cap = "max_completion_tokens"
                return await self._try(body)
            raise await self._refused(error, sent) from error

    async def _back_off(self, again: Again, tries: int) -> None:
        """Wait before the next try, with jitter: what failed together should not come back together."""
        if again.wait is not None and again.wait > PATIENCE:
            raise self._given_up(again, tries) from again
        delay = random.uniform(0.5, 1) * min(MOST, FIRST * 2 ** (tries - 1))
        if again.wait is not None:
            delay = again.wait + min(delay, 1)
        if again.everyone:
            self.gate.pause(delay)
        if time.monotonic() - self.memory.told > QUIET:
            self.memory.told = time.monotonic()
            print(f"{self.url}: {self._clean(str(again))}; tried again in {delay:.1f} s", file=sys.stderr)
        await asyncio.sleep(delay)

    def _given_up(self, again: Again, tries: int) -> EngineError:
        asks = f" (it asks for a pause of {again.wait:,.0f} s)" if again.wait else ""
        return EngineError(
            f"{self.url}: {self._clean(str(again))}{asks}, after {tries} {'try' if tries == 1 else 'tries'};"
            " rows that are done are kept; the same command goes on from there"
        )

    async def _refused(self, error: "APIStatusError", sent: Mapping[str, Any]) -> EngineError:
        said = self._clean(answers.words(error.body))
        return EngineError(f"{self.url}: {error.status_code} {said}; {await self._advice(error, said, sent)}")

    async def _advice(self, error: "APIStatusError", said: str, sent: Mapping[str, Any]) -> str:
        """Which parameter to change."""
        if error.status_code in (401, 403):
            fault = "is not set" if not _key(self.settings) else "holds a key that is not accepted"
            return f"the environment variable {self.settings.key} (engine.endpoint.key) {fault}"
        if error.status_code == 404 or error.code == "model_not_found" or error.param == "model":
            return await self._served(sent["model"])
        if error.code == "insufficient_quota" or error.status_code == 402:
            return "rows that are done are kept; the same command goes on from there"
        named = [name for name in sent if name == error.param]
        refused = named or [name for name in sent if re.search(rf"\b{name}\b", said)]
        if "seed" in refused:
            return "set engine.endpoint.seed to false"
        if "structured_outputs" in refused:
            return "this server cannot hold an answer to a pattern; set judge.structured to false"
        if removable := [name for name in refused if name not in ("model", "messages", "prompt")]:
            return f"change {removable[0]}, or leave it out by engine.endpoint.extra_body={{{removable[0]}: null}}"
        return "check engine.endpoint.api, engine.endpoint.extra_body and the sampling parameters"

    async def _served(self, model: str) -> str:
        from openai import OpenAIError

        try:
            listed = json.loads(await self.client.get("/models", cast_to=str))
            names = [str(entry["id"]) for entry in listed["data"]]
        except (OpenAIError, ValueError, LookupError, TypeError):
            names = [model]
        if model in names:
            return f"check engine.endpoint.base_url: {PATHS[self.settings.api]} is added to it; most end in /v1"
        return f"the server has no {model} but {', '.join(names[:20])}: set engine.endpoint.model (or .adapter)"

    def _clean(self, said: str) -> str:
        """Some servers repeat the key that they refuse."""
        key = _key(self.settings)
        return said.replace(key, "***") if key else said


def _wants_other_cap(error: "APIStatusError") -> bool:
    return error.status_code in (400, 422) and "max_completion_tokens" in answers.words(error.body)
