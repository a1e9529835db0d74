"""An OpenAI-compatible server on loopback that misbehaves as told, and remembers what it was asked."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import loopback

Headers = Mapping[str, str]
Step = Callable[["Handler"], None]


@dataclass
class Asked:
    """One request: when it came (seconds, monotonic), where to, and what it held."""

    at: float
    path: str
    headers: Headers
    body: dict[str, Any]


@dataclass
class Seen:
    """What the server has been asked, and how many requests were under way at once."""

    asked: list[Asked] = field(default_factory=list)
    under_way: int = 0
    most: int = 0


class Handler(loopback.Handler):
    """Each request takes the next step of the script; the last step is repeated."""

    server: "FaultyServer"

    def do_GET(self) -> None:
        self.give(200, {"data": [{"id": name} for name in self.server.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        step = self.server.next_step(Asked(time.monotonic(), self.path, headers, body))
        self.asked = body
        try:
            step(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self.server.leave()

    def give(self, status: int, body: Any, headers: Headers | None = None) -> None:
        """A whole answer; ``body`` is text as it is, anything else JSON."""
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class FaultyServer(loopback.Server):
    """``with FaultyServer([step, ...]) as server``: serves at ``server.url`` until the block ends."""

    request_queue_size = 128

    def __init__(self, script: Sequence[Step], models: Sequence[str] = ("demo",)) -> None:
        super().__init__(Handler)
        self.script, self.models = list(script), models
        self.seen = Seen()
        self.lock = threading.Lock()
        self.url += "/v1"

    def next_step(self, asked: Asked) -> Step:
        with self.lock:
            self.seen.asked.append(asked)
            self.seen.under_way += 1
            self.seen.most = max(self.seen.most, self.seen.under_way)
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def leave(self) -> None:
        with self.lock:
            self.seen.under_way -= 1


def answer(text: str | None = "fine", finish: str | None = "stop", usage: Any = (7, 3), **message: Any) -> Step:
    """A good answer, in the form of the API that was asked. ``usage``: tokens read and written, or None."""
    tokens = usage and {"prompt_tokens": usage[0], "completion_tokens": usage[1]}

    def step(handler: Handler) -> None:
        chat = {"message": {"role": "assistant", "content": text} | message}
        choice: dict[str, Any] = chat if handler.path.endswith("/chat/completions") else {"text": text}
        handler.give(200, {"choices": [{"index": 0, "finish_reason": finish} | choice], "usage": tokens})

    return step


def echo(handler: Handler) -> None:
    """Answers with the last message's own words."""
    answer(handler.asked["messages"][-1]["content"])(handler)


def status(number: int, message: str = "told to fail", headers: Headers | None = None, **error: Any) -> Step:
    """An error in OpenAI's form."""
    return lambda handler: handler.give(number, {"error": {"message": message} | error}, headers)


def raw(body: str, number: int = 200) -> Step:
    """Any body at all."""
    return lambda handler: handler.give(number, body)


def slow(seconds: float, then: Step) -> Step:
    """Silence first."""

    def step(handler: Handler) -> None:
        time.sleep(seconds)
        then(handler)

    return step


def cut(handler: Handler) -> None:
    """The connection ends in the middle of the body."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"message": {"content": "ha')
    handler.wfile.flush()
    # Reset instead of an orderly end.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def drip(handler: Handler) -> None:
    """A byte now and then: never silent for long, and never done."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    for _ in range(600):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)
