"""Embedders: what turns texts into vectors. One file each; its name is ``embed.engine``."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from builder.params import Embed

Floats = NDArray[np.float32]


class Embedder(Protocol):
    """A module of this folder holds a class ``Embedder``, made when the first text is wanted.

    ``limit``: tokens of a text that are read, or None without a limit; ``tokenizer``: the model's own, of transformers.
    """

    limit: int | None
    tokenizer: Any

    def __init__(self, settings: Embed, folder: str) -> None:
        """Load the model in ``folder`` (or of that name on the Hub). Raises EngineError if it cannot be."""
        ...

    def encode(self, texts: Sequence[str]) -> Floats:
        """[len(texts), dimensions]; each text behind ``settings.prompt``, cut at ``limit``."""
        ...
