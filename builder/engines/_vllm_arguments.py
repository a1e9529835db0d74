"""What vLLM is started with: the settings of engine.vllm over defaults that run as they are, also on a CPU."""

import dataclasses
import difflib
import importlib.metadata
import importlib.util
import logging
import os
import types
import typing
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builder import tables
from builder.errors import EngineError
from builder.language import models
from builder.params import Params

KV_CACHE = 1 << 30
"""Bytes for keys and values on a CPU, where other processes want memory, too."""

OURS = {
    "model": "set model.name",
    "tokenizer": "it is the model's",
    "revision": "set model.revision",
    "tokenizer_revision": "set model.revision",
    "enable_lora": "it follows from the policies",
    "load_format": "weights load from safetensors only",
    "model_weights": "weights load from safetensors only",
    "runner": "the engine generates",
    "skip_tokenizer_init": "the engine needs the tokenizer",
    "generation_config": "sampling is set in complete and judge",
    "override_generation_config": "sampling is set in complete and judge",
}
"""Arguments of vLLM that follow from elsewhere, and from where."""

SPEED = frozenset(
    "tensor_parallel_size pipeline_parallel_size data_parallel_size distributed_executor_backend gpu_memory_utilization"
    " kv_cache_memory_bytes num_gpu_blocks_override block_size max_num_seqs max_num_batched_tokens enforce_eager"
    " enable_prefix_caching enable_chunked_prefill cpu_offload_gb max_loras max_cpu_loras max_lora_rank "
    "disable_log_stats use_tqdm_on_load download_dir max_parallel_loading_workers disable_custom_all_reduce".split()
)
"""Arguments that decide how fast a text is made and in how much memory, not which."""

PLAIN = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}


def identity(params: Params) -> dict[str, Any]:
    """The settings that can change a text, with the dtype that a build of vLLM takes if none is set."""
    default = {"dtype": "float32" if _is_cpu_build() else "auto"}
    return default | {key: value for key, value in sorted(params.engine.vllm.items()) if key not in SPEED}


def _is_cpu_build() -> bool:
    """By its package, since importing it takes seconds."""
    return importlib.util.find_spec("vllm") is not None and not any(
        package == "vllm" for package in importlib.metadata.packages_distributions().get("vllm", [])
    )


def set_environment() -> None:
    """What vLLM reads from the environment, set before it is imported.

    In this process: a process of its own for the engine would outlive a kill -9 of this one. Standard output carries
    results, so vLLM's log goes to standard error, and only errors do.
    """
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ["VLLM_LOGGING_STREAM"] = "ext://sys.stderr"
    quiet = {"VLLM_LOGGING_LEVEL": "ERROR", "TORCH_CPP_LOG_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
    # Patterns are a judge's own, no stranger's; with a large vocabulary one takes longer than vLLM's 5 s.
    slow = {"VLLM_REGEX_COMPILATION_TIMEOUT_S": "0"}
    # Only where vLLM runs on a CPU: no core set aside for a process that is not there.
    for name, value in (quiet | slow | {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}).items():
        os.environ.setdefault(name, value)
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"vllm\.")
    try:
        with models.lean():
            from vllm import LLMEngine  # noqa: F401
    except ImportError as error:
        raise EngineError(
            f"the engine vllm needs vLLM ({error}): `make setup-vllm` installs its CPU build, the extra `gpu` the other"
        ) from error


def arguments(
    settings: Mapping[str, Any], model: str, revision: str | None, adapters: Sequence[Path]
) -> dict[str, Any]:
    """Arguments of ``EngineArgs``. Raises EngineError for a setting that is unknown, ours or of no use here."""
    _check(settings)
    chosen: dict[str, Any] = {
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "enable_prefix_caching": True,
        "structured_outputs_config": {"backend": "xgrammar"},
        "trust_remote_code": False,
    }
    if adapters:
        chosen |= {"max_loras": len(adapters), "max_lora_rank": _rank(adapters)}
    if _on_cpu():
        chosen |= _for_cpu(settings, len(adapters))
    ours = {"model": models.resolve(model), "revision": revision, "load_format": "safetensors"}
    return chosen | dict(settings) | ours | {"enable_lora": bool(adapters)}


def _check(settings: Mapping[str, Any]) -> None:
    from vllm import EngineArgs

    known = {field.name: field.type for field in dataclasses.fields(EngineArgs) if not field.name.startswith("_")}
    for key, value in settings.items():
        if key in OURS:
            raise EngineError(f"engine.vllm.{key} cannot be set: {OURS[key]}")
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise EngineError(f"engine.vllm.{key} is unknown; the nearest known one is {near}")
        _check_kind(key, value, known[key])
    if settings.get("data_parallel_size", 1) != 1:
        raise EngineError(
            "engine.vllm.data_parallel_size must be 1: vLLM's replicas need a process each, this engine is one; "
            "set tensor_parallel_size, or engine.scale: ray, which starts one for each group of devices"
        )


def _check_kind(key: str, value: Any, hint: Any) -> None:
    """Of plain values the kind is checked here: vLLM compares first and complains of ``<``. It checks the others."""
    kinds = typing.get_args(hint) or (hint,)
    union = typing.get_origin(hint) in (None, types.UnionType, typing.Union)
    if not union or not all(kind in PLAIN for kind in kinds):
        return
    if type(value) not in kinds and not (type(value) is int and float in kinds):
        raise EngineError(f"engine.vllm.{key} must be {' or '.join(PLAIN[kind] for kind in kinds)}, not {value!r}")


def _on_cpu() -> bool:
    from vllm.platforms import current_platform

    if not current_platform.device_type:
        raise EngineError("vLLM finds no GPU, and this build of it needs one; `make setup-vllm` installs its CPU build")
    return bool(current_platform.is_cpu())


def _for_cpu(settings: Mapping[str, Any], adapters: int) -> dict[str, Any]:
    """Defaults for vLLM's CPU backend (0.32)."""
    chosen: dict[str, Any] = {
        "dtype": "float32",
        "enforce_eager": True,  # compiling takes minutes
        "enable_chunked_prefill": False,  # a prompt in two parts and a seed: "CPU Generator does not use offset"
        "max_model_len": -1,  # the model's context, or as much of it as the memory holds
    }
    if "gpu_memory_utilization" not in settings:
        chosen["kv_cache_memory_bytes"] = KV_CACHE
    if adapters:
        # Rows of the base model are computed with the last adapter's place, which must stay empty.
        chosen["max_loras"] = adapters + 1
    return chosen


def _rank(adapters: Sequence[Path]) -> int:
    """The smallest rank that vLLM offers and that holds every adapter's."""
    from vllm.config.lora import MaxLoRARanks

    ranks = [int(tables.read_json(adapter / "adapter_config.json")["r"]) for adapter in adapters]
    offered = [int(rank) for rank in typing.get_args(MaxLoRARanks)]
    fitting = [rank for rank in offered if rank >= max(ranks)]
    if not fitting:
        raise EngineError(f"an adapter has rank {max(ranks)}; vLLM takes up to {max(offered)}")
    return min(fitting)
