"""What is known of a model without loading it: its parameters, and what its cache is made of."""

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.plan.given import Given, Shape
from builder.errors import EngineError
from builder.language import models
from builder.tables import first_line


@dataclass(frozen=True)
class Model:
    """``parameters``: how many numbers its weights are; ``stored``: bytes on the disk, where that is known, and
    ``quantized`` whether these are fewer bits than any dtype of torch. ``shape``: None if it is not known. ``context``:
    tokens that it reads at most. ``told``: where all this is from.
    """

    name: str
    parameters: float
    shape: Shape | None
    dtype: str | None
    told: str
    stored: int | None = None
    quantized: bool = False
    context: int | None = None
    vocabulary: int | None = None
    hidden: int | None = None


def read(name: str, revision: str | None, stage: str, given: Given) -> Model:
    """From the config of a folder or of the Hub; --parameters and --shape go before it and may stand in for it.

    Raises EngineError where neither says how many parameters there are.
    """
    parameters, shape = given.parameters.get(stage), given.shapes.get(stage)
    if parameters and (shape or stage == "embed"):
        return Model(models.label(name), parameters, shape, None, "as given")
    try:
        described = config(name, revision)
    except EngineError as error:
        if not parameters:
            raise EngineError(
                f"{error}; say --parameters {stage}=8e9, and --shape LAYERS,KV_HEADS,HEAD_SIZE"
            ) from error
        told = "parameters as given; its config cannot be read, so that its cache is not known (--shape)"
        return Model(models.label(name), parameters, shape, None, told)
    return _described(name, described, parameters, shape, stage == "embed")


def adapter_parameters(name: str, revision: str | None, rank: int, targets: Sequence[str]) -> float | None:
    """Numbers of a LoRA adapter of ``rank`` on the projections ``targets``; None where the config cannot be read."""
    try:
        modules = _skeleton(config(name, revision)).named_modules()
    except EngineError:
        return None
    wanted = (module for path, module in modules if path.rpartition(".")[2] in targets)
    return float(sum(rank * (module.in_features + module.out_features) for module in wanted))


def _described(name: str, found: Any, parameters: float | None, shape: Shape | None, embeds: bool) -> Model:
    text = found.get_text_config()
    files = _weights(name)
    quantized = getattr(found, "quantization_config", None) is not None
    if parameters:
        counted, told = parameters, "parameters as given, the rest by its config"
    elif files and not quantized:
        counted, told = sum(map(_numbers, files)), "by its safetensors files and its config"
    else:
        counted, told = sum(p.numel() for p in _skeleton(found, embeds).parameters()), "by its config"
    heads = getattr(text, "num_attention_heads", None)
    return Model(
        models.label(name),
        float(counted),
        shape or _shape(text, heads),
        str(text.dtype).removeprefix("torch.") if getattr(text, "dtype", None) else None,
        told,
        sum(file.stat().st_size for file in files) or None,
        quantized,
        getattr(text, "max_position_embeddings", None),
        getattr(text, "vocab_size", None),
        getattr(text, "hidden_size", None),
    )


def _shape(found: Any, heads: int | None) -> Shape | None:
    """By the names that Llama-like models have; a model of other names says its shape by --shape."""
    layers, hidden = getattr(found, "num_hidden_layers", None), getattr(found, "hidden_size", None)
    if not layers or not heads or not hidden:
        return None
    head_size = getattr(found, "head_dim", None) or hidden // heads
    return Shape(layers, getattr(found, "num_key_value_heads", None) or heads, head_size)


def config(name: str, revision: str | None) -> Any:
    """Of a folder or of the Hub. Raises EngineError, in one line, where there is none that transformers knows."""
    found = _tried(name, revision)
    if isinstance(found, EngineError):
        raise found
    return found


@functools.cache
def _tried(name: str, revision: str | None) -> Any:
    """The config, or why there is none: without a network each try takes half a minute."""
    with models.lean():
        from huggingface_hub.utils import logging
        from transformers import AutoConfig
    logging.set_verbosity_error()  # its retries are told in the error below
    try:
        return AutoConfig.from_pretrained(models.resolve(name), revision=revision)
    except (OSError, ValueError, KeyError) as error:
        return EngineError(f"model {name}: its config cannot be read: {first_line(error).rstrip('.')}")


def _skeleton(found: Any, embeds: bool = False) -> Any:
    """The model without its numbers: every tensor has a shape and takes no memory. Raises EngineError."""
    with models.lean():
        import torch
        from transformers import AutoModel, AutoModelForCausalLM
    try:
        with torch.device("meta"):
            return (AutoModel if embeds else AutoModelForCausalLM).from_config(found)
    except (OSError, ValueError, ImportError) as error:
        raise EngineError(f"model {found.name_or_path}: cannot be made from its config: {first_line(error)}") from error


def _weights(name: str) -> list[Path]:
    folder = Path(models.resolve(name))
    return sorted(folder.glob("*.safetensors")) if folder.is_dir() else []


def _numbers(file: Path) -> int:
    """How many numbers a safetensors file holds, by its head: a length of 8 bytes, then JSON."""
    try:
        with file.open("rb") as opened:
            head = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        return sum(math.prod(entry["shape"]) for key, entry in head.items() if key != "__metadata__")
    except (ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:
        raise EngineError(f"{file}: not a safetensors file: {first_line(error)}") from error
