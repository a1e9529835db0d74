"""vLLM's pooling runner, for many texts on a GPU: the same vectors to 2.4e-7, after a start of some 20 s.

Pooling and normalisation are those that the model's folder names, as in sentence-transformers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from builder import tables
from builder.embedders import Floats
from builder.engines import _vllm_arguments
from builder.errors import EngineError
from builder.params import Embed


class Embedder:
    """As ``builder.embedders``; ``embed.batch_size`` is vLLM's own affair."""

    def __init__(self, settings: Embed, folder: str) -> None:
        self.settings = settings
        _vllm_arguments.set_environment()
        from vllm import LLM

        try:
            self.model: Any = LLM(
                folder,
                revision=settings.revision,
                runner="pooling",
                dtype=settings.dtype,
                enforce_eager=True,
                gpu_memory_utilization=0.5,
                load_format="safetensors",
            )
        except Exception as error:  # vLLM raises many kinds
            told = tables.first_line(error)
            raise EngineError(f"embed.model {settings.model}: vLLM cannot start: {told}") from error
        self.limit: int | None = self.model.model_config.max_model_len
        self.tokenizer = self.model.get_tokenizer()

    def encode(self, texts: Sequence[str]) -> Floats:
        given = [(self.settings.prompt or "") + text for text in texts]
        cut = {"truncation": True, "max_length": self.limit}
        outputs = self.model.embed(given, use_tqdm=False, tokenization_kwargs=cut)
        return np.array([output.outputs.embedding for output in outputs], np.float32)
