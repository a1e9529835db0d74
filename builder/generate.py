"""Generation by row: requests to an engine, of which those that were answered before are not repeated."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from builder import plugins, rows
from builder.engines import Engine, Request
from builder.errors import EngineError
from builder.ids import canonical_json, sha256
from builder.params import Params
from builder.policy import Policy

SCHEMA = pa.schema(
    [("text", pa.string()), ("finish_reason", pa.string()), ("tokens", pa.int32()), ("reason", pa.string())]
)


class Lazy:
    """An engine that is loaded when the first row is missing, and never if none is."""

    def __init__(self, params: Params) -> None:
        if params.engine.scale != "local":
            raise EngineError(
                f"engine.scale: {params.engine.scale} is not something this version can do; set it to local"
            )
        self.params = params
        self.engine: Engine | None = None

    def __call__(self, requests: Sequence[Request]) -> pa.Table:
        if self.engine is None:
            self.engine = plugins.load("engines", self.params.engine.name).Engine(self.params)
        done = [vars(completion) for completion in self.engine.generate(requests)]
        return pa.Table.from_pylist(done, SCHEMA)


def generate(
    kind: str, names: Sequence[str], requests: Sequence[Request], params: Params, label: str, engine: Lazy | None = None
) -> pa.Table:
    """Columns text, finish_reason, tokens, reason: a row for each request, in their order.

    A row is kept under all that determines it: engine and its settings, the policy's weights, the
    sampling, its messages, its seed. ``names`` make its key readable.
    """
    engine = engine or Lazy(params)
    hashes = {policy: policy.hash() for policy in {request.policy for request in requests}}
    settings = {"engine": params.engine.name, "settings": _settings(params), "policies": sorted(hashes.values())}
    keys = [f"{name} {_key(request, hashes)}" for name, request in zip(names, requests, strict=True)]
    done = rows.compute(kind, settings, keys, lambda chunk: engine([requests[i] for i in chunk]), label)
    return done if done.num_rows else SCHEMA.empty_table()


def _settings(params: Params) -> Any:
    """The engine's own settings that can change a text; the batch's size is none of them."""
    block = getattr(params.engine, params.engine.name, {})
    return {k: v for k, v in (block if isinstance(block, dict) else vars(block)).items() if k != "batch_size"}


def _key(request: Request, hashes: Mapping[Policy, str]) -> str:
    sampling = request.sampling
    how = vars(sampling) | {"contrastive": vars(sampling.contrastive) if sampling.contrastive else None}
    content = {"messages": request.messages, "policy": hashes[request.policy], "seed": request.seed, "how": how}
    return sha256(canonical_json(content))[:32]
