"""embed: texts -> embeddings.parquet, each distinct text once, in the order of first use."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builder import ratings, rows, tables, wanted
from builder.encoder import Encoder, model_name
from builder.ids import digest
from builder.language import models
from builder.params import Embed, Params

WINDOW = 16_384
"""Texts that are held and sorted by length together: a row group of the table."""


@dataclass(frozen=True)
class Made:
    """Distinct texts embedded, and how many were longer than the model reads."""

    texts: int
    truncated: int


def run(folder: Path, params: Params) -> Made:
    """Embed what the ratings wanted need: the run's method, ``rate.also``, and wim, which stats always report."""
    inputs = {name: tables.find(folder, name) for name in ("completions", "feedback")}
    more = {"prompts": tables.find(folder, "prompts")} if ratings.reads_prompts(ratings.wanted(params).values()) else {}
    tables.check_made_from(inputs["feedback"], tables.fingerprints({"completions": inputs["completions"]}), "judge")
    settings = vars(params.embed) | {"model": models.label(params.embed.model)}
    about = tables.metadata("embed", settings, inputs, model=identity(params.embed))
    texts = wanted.OfRun(inputs | more, params)
    stored = _rows(texts, texts.count, texts.fingerprint, params.embed, "embed", _spread(params))
    truncated = 0
    parts = _tables(stored)
    first = next(parts, tables.embeddings_schema(1).empty_table())
    with tables.writer(tables.path(folder, "embeddings"), first.schema, about) as out:
        for part in itertools.chain([first], parts):
            out.write_table(part)
            truncated += int(np.count_nonzero(part["truncated"]))
    return Made(texts.count, truncated)


def _spread(params: Params) -> rows.Work[str] | None:
    """The work on a cluster, where the parameters ask for it."""
    if params.engine.scale == "local":
        return None
    from builder.cluster.work import embedding

    return embedding(params)


def embed(texts: Sequence[str], settings: Embed, work: rows.Work[str] | None = None) -> pa.Table:
    """Table of text_id, embedding, tokens (as the model's own tokeniser counts) and truncated.

    ``work``: who embeds them, if not an encoder in this process.
    """
    parts = list(_tables(_rows(lambda: iter(texts), len(texts), _fingerprint(texts), settings, "embed", work)))
    return pa.concat_tables(parts).combine_chunks() if parts else tables.embeddings_schema(1).empty_table()


def streamed(texts: Callable[[], Iterator[str]], total: int, settings: Embed, label: str) -> rows.Rows:
    """The rows of ``embed`` without their text_id, in the order of ``total`` texts that need not fit into memory.

    ``texts`` gives them anew at each call. The rows stay under .wim/; they are best read in blocks of ``WINDOW``.
    """
    return _rows(texts, total, _fingerprint(texts()), settings, label)


def _rows(
    texts: Callable[[], Iterator[str]],
    total: int,
    fingerprint: str,
    settings: Embed,
    label: str,
    work: rows.Work[str] | None = None,
) -> rows.Rows:
    """As ``streamed``. Texts are worked off in parts of like length, kept under the fingerprint of all of them.

    So a run that was killed goes on with parts of the same composition, and with the same bits.
    """
    orders: list[NDArray[np.int64]] = []

    def items() -> Iterator[tuple[bytes, str]]:
        given, start = texts(), 0
        while window := list(itertools.islice(given, WINDOW)):
            order = sorted(range(len(window)), key=lambda i: (len(window[i]), window[i]))
            orders.append(start + np.array(order, np.int64))
            start += len(window)
            yield from ((digest(window[i]), window[i]) for i in order)

    how = {"model": identity(settings), "settings": vars(settings), "texts": fingerprint}
    done = rows.compute("embed", how, items(), work or Encoder(settings).batches, label, total)
    return done.ordered(np.argsort(np.concatenate([np.empty(0, np.int64), *orders])))


def _tables(stored: rows.Rows) -> Iterator[pa.Table]:
    """The embeddings table in parts of ``WINDOW`` rows."""
    start = 0
    for block in stored.blocks(WINDOW):
        schema = tables.embeddings_schema(block.schema.field("embedding").type.list_size)
        names = stored.keys[start : start + len(block)].astype(">u8").tobytes().hex()
        ids = [names[i : i + 32] for i in range(0, len(names), 32)]
        yield block.add_column(0, "text_id", pa.array(ids, pa.string())).cast(schema)
        start += len(block)


def _fingerprint(texts: Iterable[str]) -> str:
    every = hashlib.sha256()
    for text in texts:
        every.update(digest(text))
    return every.hexdigest()


def identity(settings: Embed) -> dict[str, Any]:
    """What tells two embedders apart."""
    return models.identity(model_name(settings), settings.revision)


def is_of(file: Path, settings: Embed) -> bool:
    """Whether the embeddings in ``file`` say that they were made as ``settings`` would make them."""
    said = tables.read_metadata(file)
    made = said.get("params", {})
    exact = {"dtype": Embed().dtype}  # of tables from before there was a choice
    return said.get("model") == identity(settings) and all(
        (exact | made).get(name) == getattr(settings, name) for name in ("truncation", "prompt", "dtype")
    )
