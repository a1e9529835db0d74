"""Typed parameters of the engines: who generates text, and where."""

from dataclasses import dataclass, field
from typing import Any, Literal

from builder.params.blocks import require


@dataclass(frozen=True)
class TransformersEngine:
    """``float64`` makes a row independent of its batch; larger models want ``bfloat16``."""

    dtype: Literal["float64", "float32", "bfloat16"] = "float64"
    batch_size: int = 64
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "engine.transformers.batch_size", "at least 1", self.batch_size)


@dataclass(frozen=True)
class Price:
    """Of a million tokens read and of a million generated, in any one currency."""

    input: float = 0.0
    output: float = 0.0

    def __post_init__(self) -> None:
        require(self.input >= 0, "engine.endpoint.price.input", "0 or more", self.input)
        require(self.output >= 0, "engine.endpoint.price.output", "0 or more", self.output)

    def of(self, read: int, generated: int) -> float:
        """The cost of so many tokens."""
        return (self.input * read + self.output * generated) / 1e6


@dataclass(frozen=True)
class EndpointEngine:
    """An OpenAI-compatible server.

    ``model`` is the name under which it serves the base model (null: the model's own), ``adapter`` that of
    the policy's adapter. ``key`` names the environment variable that holds the key. ``timeout`` is in
    seconds. ``seed``: whether a row's seed is sent. ``extra_body`` goes into every request; a field that
    is null there is left out of it.
    """

    base_url: str = "http://localhost:8000/v1"
    model: str | None = None
    adapter: str | None = None
    api: Literal["chat", "completions"] = "chat"
    tokenizer: str | None = None
    concurrency: int = 64
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    retries: int = 10
    timeout: float = 600.0
    key: str = "OPENAI_API_KEY"
    price: Price | None = None
    seed: bool = True
    extra_body: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = "engine.endpoint."
        url = self.base_url.startswith(("http://", "https://"))
        require(url, where + "base_url", "a URL that begins with http:// or https://", self.base_url)
        require(1 <= self.concurrency <= 1000, where + "concurrency", "between 1 and 1000", self.concurrency)
        for name in ("requests_per_minute", "tokens_per_minute"):
            limit = getattr(self, name)
            require(limit is None or limit >= 1, where + name, "null or at least 1", limit)
        require(0 <= self.retries <= 100, where + "retries", "between 0 and 100", self.retries)
        require(self.timeout > 0, where + "timeout", "above 0 seconds", self.timeout)
        # Whoever puts the key itself here should not read it in an error or a log.
        variable = self.key.isidentifier() and self.key.isupper()
        require(variable, where + "key", "the NAME of an environment variable, in capitals", "what stands there")
        for name in ("model", "messages", "prompt", "n", "stream", "structured_outputs"):
            require(name not in self.extra_body, where + "extra_body", f"without {name}", self.extra_body)


@dataclass(frozen=True)
class Ray:
    """How ``scale: ray`` spreads rows over the cluster of RAY_ADDRESS, or over this machine where it is not set.

    ``actors``: engines at most (null: as many as there is room for), ``gpus``: of each (null: the group that
    engine.vllm names, 1 for other engines; none on a cluster without). Every ``chunk`` rows are worth an engine of
    their own; ``in_flight`` rows are in an engine's hands at most (null: two batches), of which a lost node loses
    those that are not finished.
    """

    actors: int | None = None
    gpus: int | None = None
    chunk: int = 64
    in_flight: int | None = None

    def __post_init__(self) -> None:
        where = "engine.ray."
        require(self.actors is None or self.actors >= 1, where + "actors", "null or at least 1", self.actors)
        require(self.gpus is None or self.gpus >= 0, where + "gpus", "null, or 0 or more", self.gpus)
        require(1 <= self.chunk <= 100_000, where + "chunk", "between 1 and 100000", self.chunk)
        rows = self.in_flight
        require(
            rows is None or self.chunk <= rows <= 100_000, where + "in_flight", "null or from chunk to 100000", rows
        )


@dataclass(frozen=True)
class Engine:
    """Who generates text: ``name`` is a file in builder/engines/."""

    name: str = "transformers"
    scale: Literal["local", "ray"] = "local"
    ray: Ray = field(default_factory=Ray)
    transformers: TransformersEngine = field(default_factory=TransformersEngine)
    vllm: dict[str, Any] = field(default_factory=dict)
    endpoint: EndpointEngine = field(default_factory=EndpointEngine)
