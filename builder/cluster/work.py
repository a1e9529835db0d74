"""What is done on a cluster: an engine answers requests, an embedder embeds texts."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa

from builder import encoder, engines, generate, plugins, rows
from builder.cluster import connection, parcels
from builder.cluster.host import Work
from builder.cluster.parcels import Parcel
from builder.cluster.pool import Pool, Size
from builder.encoder import Encoder
from builder.engines import Completion, Request
from builder.language import models
from builder.language.policy import Policy
from builder.params import Embed, Params

TEXTS = 2
"""Parts of texts that an embedder has in hand."""
VLLM_ROWS = 1024
"""Rows that vLLM works on at a time, at most, where engine.vllm.max_num_seqs is not set."""


class OnCluster(generate.Lazy):
    """An engine on every place of the cluster, from the first row on that is missing."""

    pool: Pool[Request, Completion] | None = None

    def generate(self, requests: Iterator[Request]) -> Iterator[tuple[int, Completion]]:
        first = next(requests, None)
        if first is None:
            return
        if self.pool is None:
            connection.connect()
            self.pool = Pool(self._made(), _rows(self.params))
        yield from self.pool.run(itertools.chain([first], requests))

    def close(self) -> None:
        self.pool = None  # its hosts end with it

    def _made(self) -> "_Engine":
        return _Engine(self.params, self.policies, _packed(_names(self.policies)))


@dataclass(frozen=True)
class _Engine:
    """Makes an engine on a node. ``folders``: those of models and adapters that lie on this machine, by their names."""

    params: Params
    policies: Sequence[Policy]
    folders: Mapping[str, Parcel]

    def __call__(self) -> Work[Request, Completion]:
        there = {name: parcel.here() for name, parcel in self.folders.items()}
        here = {policy: _with(policy, there) for policy in self.policies}
        module = cast(engines.Module, plugins.load("engines", self.params.engine.name))
        engine = module.Engine(self.params, list(here.values()))
        return lambda requests: engine.generate(dataclasses.replace(r, policy=here[r.policy]) for r in requests)


def _with(policy: Policy, folders: Mapping[str, Path]) -> Policy:
    """The policy where its model and its adapter lie in these folders."""
    adapter = folders[str(policy.adapter)] if policy.adapter else None
    return dataclasses.replace(policy, model=str(folders.get(policy.model, policy.model)), adapter=adapter)


@dataclass(frozen=True)
class _Embedder:
    """Makes an embedder on a node, whose items are lists of texts."""

    settings: Embed
    folders: Mapping[str, Parcel]

    def __call__(self) -> Work[list[str], pa.Table]:
        there = {name: str(parcel.here()) for name, parcel in self.folders.items()}
        model = there.get(self.settings.model, self.settings.model)
        encode = Encoder(dataclasses.replace(self.settings, model=model))
        return lambda parts: enumerate(map(encode, parts))


def embedding(params: Params) -> rows.Work[str]:
    """What ``Encoder.batches`` does, part by part of the same texts, on every place of the cluster."""

    def batches(texts: Iterator[str], done: rows.Done) -> Iterator[rows.Batch]:
        first = next(texts, None)
        if first is None:
            return
        connection.connect()
        pool: Pool[list[str], pa.Table] = Pool(_Embedder(params.embed, _packed([params.embed.model])), _texts(params))
        for number, table in pool.run(encoder.parts(itertools.chain([first], texts))):
            start = number * encoder.PART
            yield range(start, start + len(table)), table
            done(len(table), 0)

    return batches


def _packed(names: Iterable[str]) -> dict[str, Parcel]:
    """Of names of models and adapters those that are folders; on a cluster of this machine alone nothing travels."""
    folders = {name: Path(models.resolve(name)) for name in names}
    return {
        name: parcels.pack(folder, travels=not connection.is_own())
        for name, folder in folders.items()
        if folder.is_dir()
    }


def _names(policies: Iterable[Policy]) -> Iterator[str]:
    for policy in policies:
        yield policy.model
        if policy.adapter:
            yield str(policy.adapter)


def _rows(params: Params) -> Size:
    """What a host of the engine takes and has in hand: two batches, so that it never waits."""
    how, engine = params.engine.ray, params.engine
    vllm = engine.name == "vllm"
    batch = int(engine.vllm.get("max_num_seqs", VLLM_ROWS)) if vllm else engine.transformers.batch_size
    group = math.prod(int(engine.vllm.get(f"{kind}_parallel_size", 1)) for kind in ("tensor", "pipeline"))
    gpus = how.gpus if how.gpus is not None else _gpus(group if vllm else 1)
    return Size(1, gpus, how.actors, how.chunk, how.in_flight or max(2 * batch, how.chunk))


def _texts(params: Params) -> Size:
    how = params.engine.ray
    return Size(1, 0 if how.gpus == 0 else _gpus(1), how.actors, 1, TEXTS)


def _gpus(wanted: int) -> int:
    """So many, unless the cluster has none at all."""
    import ray

    return wanted if ray.cluster_resources().get("GPU", 0) else 0
