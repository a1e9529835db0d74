"""What an engine's settings say of GPUs: how many hold one copy of a model, in which numbers, for how many rows."""

from dataclasses import dataclass
from typing import Any

from builder.params import Params
from builder.params.blocks import require

GIB = 1 << 30
BYTES = {
    "float64": 8, "float32": 4, "float": 4, "bfloat16": 2, "float16": 2, "half": 2,
    "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1,
}  # fmt: skip
"""Of one number, by the names that torch and vLLM have for it."""
VLLM_SHARE = 0.92
"""Of a GPU's memory that vLLM 0.32 takes where engine.vllm.gpu_memory_utilization is not set."""
VLLM_ROWS = 256
VLLM_ROWS_OF_LARGE = 1024
VLLM_LARGE = 70 * GIB
"""Rows that vLLM 0.32 works on at a time where max_num_seqs is not set, and from which memory on they are more."""


@dataclass(frozen=True)
class Settings:
    """What an engine's settings say of memory. ``rows``: worked on at a time; ``fills``: whether as many as there is
    room for, up to ``rows``, and not just as many.
    """

    dtype: str
    cache_dtype: str
    rows: int
    share: float
    tensor: int = 1
    pipeline: int = 1
    fills: bool = False

    @property
    def group(self) -> int:
        """GPUs that hold one copy of the model together."""
        return self.tensor * self.pipeline


def settings(params: Params, stored: str | None, gpu: float | None) -> Settings:
    """Of the engine of ``params``. ``stored``: the model's dtype, by its config; ``gpu``: bytes of a GPU, if known.

    Raises ParamsError for a setting of vLLM that cannot be calculated with.
    """
    if params.engine.name == "transformers":
        own = params.engine.transformers
        return Settings(own.dtype, own.dtype, own.batch_size, 1.0)
    asked: dict[str, Any] = params.engine.vllm if params.engine.name == "vllm" else {}
    dtype = asked.get("dtype", "auto")
    dtype = _half(stored) if dtype == "auto" else str(dtype)
    cache_dtype = asked.get("kv_cache_dtype", "auto")
    large = gpu is None or gpu >= VLLM_LARGE
    return Settings(
        _known("dtype", dtype),
        _known("kv_cache_dtype", dtype if cache_dtype == "auto" else str(cache_dtype)),
        _count(asked, "max_num_seqs", VLLM_ROWS_OF_LARGE if large else VLLM_ROWS),
        float(asked.get("gpu_memory_utilization", VLLM_SHARE)),
        _count(asked, "tensor_parallel_size", 1),
        _count(asked, "pipeline_parallel_size", 1),
        True,
    )


def _half(stored: str | None) -> str:
    """vLLM's ``auto``: what is stored in 32 bits is computed in 16."""
    return "bfloat16" if stored in (None, "float32", "float64") else str(stored)


def _known(name: str, dtype: str) -> str:
    require(dtype in BYTES, f"engine.vllm.{name}", f"one of {', '.join(BYTES)} to plan its memory", dtype)
    return dtype


def _count(asked: dict[str, Any], name: str, default: int) -> int:
    value = asked.get(name, default)
    require(type(value) is int and value >= 1, f"engine.vllm.{name}", "a whole number, at least 1", value)
    return int(value)


def devices(params: Params, gpus: int) -> int:
    """How many GPUs one engine computes on together; those of a server are all that there are."""
    if params.engine.name == "endpoint":
        return 1 if is_hosted(params) else gpus
    return group(params)


def group(params: Params) -> int:
    """GPUs that hold one copy of the model together."""
    return settings(params, None, None).group


def rows_together(params: Params) -> int:
    """Rows that the engine takes at a time, never more; 1 where it takes further ones as others are finished."""
    return params.engine.transformers.batch_size if params.engine.name == "transformers" else 1


def is_hosted(params: Params) -> bool:
    """Whether somebody else's GPUs do the work, and are paid by the token."""
    return params.engine.name == "endpoint" and params.engine.endpoint.price is not None
