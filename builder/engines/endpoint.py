"""Any OpenAI-compatible server: vllm serve, SGLang, llama.cpp, a hosted API.

``api: completions`` sends token ids, so that no text of the data can become a control token; it needs
the model's tokenizer here. ``api: chat`` sends messages, in which the server would read control
strings of chat templates as such: they are escaped and counted.

What a text depends on beside the request is the server's business: dtype, batching, and defaults that
it takes from the model's generation_config.json for what a request does not name (start vLLM with
``--generation-config vllm``, or name ``top_k``, ``repetition_penalty`` ... in ``extra_body``). vLLM
shortens ``max_tokens`` to what is left of its context; such a text ends with ``length``.

A pattern is sent as vLLM's ``structured_outputs``; other servers refuse it or, worse, ignore it.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

from builder import ids
from builder.engines import Completion, Request
from builder.engines._endpoint_client import Connection, Memory, check, connect, shown
from builder.engines._limits import Window
from builder.errors import EngineError
from builder.language import chat, control, models
from builder.language.policy import Policy
from builder.params import EndpointEngine, Params

GLANCE = 0.2
"""Seconds after which an interrupt is noticed."""


def identity(params: Params) -> dict[str, Any]:
    """What can change a text: where it comes from and what is sent, but not how fast or how often."""
    settings = params.engine.endpoint
    names = ("model", "adapter", "api", "seed", "extra_body")
    tokenizer = models.identity(settings.tokenizer, None) if settings.tokenizer else None
    sent = {name: getattr(settings, name) for name in names}
    return {"base_url": shown(settings.base_url).rstrip("/"), "tokenizer": tokenizer} | sent


class Engine:
    """Keeps ``concurrency`` requests under way; each of them is one sample with its own seed."""

    def __init__(self, params: Params, policies: Sequence[Policy]) -> None:
        self.settings = params.engine.endpoint
        self.names = _names(params, policies)
        check(self.settings)
        self.memory = Memory(Window(self.settings.requests_per_minute), Window(self.settings.tokens_per_minute))
        tokenized = policies if self.settings.api == "completions" else ()
        self.tokenizers = {(p.model, p.revision): _tokenizer(self.settings, p) for p in tokenized}

    def generate(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        from anyio.from_thread import start_blocking_portal

        # The event loop has a thread of its own, so that answers are taken while the caller is busy.
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(connect(self.settings)) as client,
        ):
            connection = Connection(client, self.settings, self.memory)

            def start(request: Request) -> Future[Completion]:
                return portal.start_task_soon(_answer, connection, *self._prepared(request))

            yield from stream(requests, self.settings.concurrency, start)

    def _prepared(self, request: Request) -> tuple[dict[str, Any], int, int]:
        """The body to send, an estimate of its tokens, and how many control strings were escaped."""
        sampling, settings = request.sampling, self.settings
        if sampling.contrastive is not None:
            raise EngineError("servers have no contrastive search; set judge.contrastive to null")
        prompt, tokens, escaped = self._prompt(request)
        body: dict[str, Any] = {"model": self.names[request.policy]} | prompt
        body |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "max_tokens": sampling.max_tokens}
        body |= {"seed": ids.folded(request.seed)} if settings.seed else {}
        body |= {"stop": list(sampling.stop)} if sampling.stop else {}
        body |= {"structured_outputs": {"regex": sampling.pattern}} if sampling.pattern else {}
        body = {name: value for name, value in (body | settings.extra_body).items() if value is not None}
        return body, tokens + sampling.max_tokens, escaped

    def _prompt(self, request: Request) -> tuple[dict[str, Any], int, int]:
        if self.settings.api == "completions":
            tokens = chat.encode(self.tokenizers[request.policy.model, request.policy.revision], request.messages)
            return {"prompt": tokens}, len(tokens), 0
        for message in request.messages:
            if message["role"] not in chat.ROLES:  # templates write it between control strings
                raise EngineError(f"a message has the role {message['role']!r}, which no chat template knows")
        escaped = [control.escape(message["content"]) for message in request.messages]
        contents = [content for content, _ in escaped]
        messages = [{"role": m["role"], "content": c} for m, c in zip(request.messages, contents, strict=True)]
        return {"messages": messages}, sum(map(len, contents)) // 4, sum(count for _, count in escaped)


async def _answer(connection: Connection, body: dict[str, Any], estimate: int, escaped: int) -> Completion:
    return dataclasses.replace(await connection.ask(body, estimate), escaped=escaped)


def stream(
    requests: Iterable[Request], slots: int, start: Callable[[Request], Future[Completion]]
) -> Iterator[tuple[int, Completion]]:
    """Completions as they are ready; a request is taken when a slot is free.

    After a failure what is ready is still given before it is raised. What is under way when the
    caller stops is cancelled.
    """
    numbered = enumerate(requests)
    places: dict[Future[Completion], int] = {}
    ready: SimpleQueue[Future[Completion]] = SimpleQueue()
    try:
        while True:
            for place, request in itertools.islice(numbered, slots - len(places)):
                future = start(request)
                places[future] = place
                future.add_done_callback(ready.put)
            if not places:
                return
            future = _next(ready)
            if error := future.exception():
                yield from ((places[f], f.result()) for f in list(places) if f.done() and not f.exception())
                raise error
            yield places.pop(future), future.result()
    finally:
        for future in places:
            future.cancel()


def _next(ready: SimpleQueue[Future[Completion]]) -> Future[Completion]:
    """Wait, but not in one go: a signal that reaches another thread does not end a wait of this one."""
    while True:
        with contextlib.suppress(Empty):
            return ready.get(timeout=GLANCE)


def _names(params: Params, policies: Sequence[Policy]) -> dict[Policy, str]:
    """Under which name the server serves each; two under the same name would get each other's texts."""
    names = {policy: _served_name(params, policy) for policy in policies}
    served: dict[str, Policy] = {}
    for policy, name in names.items():
        if served.setdefault(name, policy) != policy:
            raise EngineError(
                f"engine.endpoint serves {served[name].model} and {policy.model} under one name, {name};"
                " set engine.endpoint.model to null, so that each is asked for by its own"
            )
    return names


def _served_name(params: Params, policy: Policy) -> str:
    """``engine.endpoint.model`` is the name of params.yaml's model; a judge's own goes by its own."""
    settings = params.engine.endpoint
    if policy.adapter is None:
        return settings.model if settings.model and policy.model == params.model.name else policy.model
    if settings.adapter is None:
        raise EngineError(
            "the policy has an adapter: set engine.endpoint.adapter to the name under which the server"
            " serves it (of vLLM: --lora-modules NAME=FOLDER), or take the engine vllm or transformers"
        )
    return settings.adapter


def _tokenizer(settings: EndpointEngine, policy: Policy) -> Any:
    name, revision = (settings.tokenizer, None) if settings.tokenizer else (policy.model, policy.revision)
    try:
        with models.lean():
            return models.tokenizer(name, revision)
    except EngineError as error:
        raise EngineError(f"{error}; set engine.endpoint.tokenizer, or engine.endpoint.api to chat") from error
