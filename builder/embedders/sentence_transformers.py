"""sentence-transformers: in this process or, where there are several GPUs, in one process for each of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from builder import tables
from builder.embedders import Floats
from builder.errors import EngineError
from builder.language import models
from builder.params import Embed

with models.lean():
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging


WORTH_PROCESSES = 256
"""Texts for which a process on each GPU is started; fewer are done before these have loaded the model."""


class _Model(SentenceTransformer):  # type: ignore[misc]
    """Multiplies in ``embed.dtype``; torch keeps sums, and what is sensitive, in float32."""

    dtype_of_products = torch.float32

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        reduced = self.dtype_of_products != torch.float32
        with torch.autocast(self.device.type, self.dtype_of_products, enabled=reduced):
            return super().forward(*args, **kwargs)


class Embedder:
    """As ``builder.embedders``."""

    def __init__(self, settings: Embed, folder: str) -> None:
        self.settings = settings
        logging.disable_progress_bar()
        try:
            self.model = _Model(folder, revision=settings.revision)
        except (OSError, ValueError) as error:
            told = tables.first_line(error)
            raise EngineError(f"embed.model {settings.model}: cannot be loaded: {told}") from error
        self.model.dtype_of_products = getattr(torch, settings.dtype)
        self.limit: int | None = self.model.max_seq_length
        self.tokenizer = self.model.tokenizer
        self.pool: Any = None

    def encode(self, texts: Sequence[str]) -> Floats:
        if self.pool is None and len(texts) >= WORTH_PROCESSES and len(devices := _devices()) > 1:
            self.pool = self.model.start_multi_process_pool(devices)
        vectors = self.model.encode(
            list(texts),
            batch_size=self.settings.batch_size,
            prompt=self.settings.prompt,
            show_progress_bar=False,
            convert_to_numpy=True,
            pool=self.pool,
            chunk_size=-(-len(texts) // len(self.pool["processes"])) if self.pool else None,
        )
        return np.ascontiguousarray(vectors, np.float32)


def _devices() -> list[str]:
    """All GPUs of the machine."""
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
