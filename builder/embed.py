"""embed: texts -> embeddings.parquet, each distinct text once, in the order of first use."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from builder import judgements, models, ratings, rows, tables
from builder.encoder import Encoder, model_name
from builder.ids import digest, sha256, text_id
from builder.params import Embed, Params


@dataclass(frozen=True)
class Made:
    """Distinct texts embedded, and how many were longer than the model reads."""

    texts: int
    truncated: int


def run(folder: Path, params: Params) -> Made:
    """Embed what the ratings wanted need: the run's method, ``rate.also``, and wim, which stats always report."""
    inputs = {name: tables.find(folder, name) for name in ("completions", "feedback")}
    judged = tables.fingerprints({"completions": inputs["completions"]})
    tables.check_made_from(inputs["feedback"], judged, "judge")
    completions = tables.read(inputs["completions"], "completions", judgements.COMPLETIONS)
    feedback = tables.read(inputs["feedback"], "feedback", judgements.FEEDBACK)
    frame = judgements.collect(completions, feedback)
    texts = wanted(ratings.with_prompts(frame, folder, ratings.wanted(params).values()), params)
    table = embed(texts, params.embed, _spread(params))
    settings = vars(params.embed) | {"model": models.label(params.embed.model)}
    about = tables.metadata("embed", settings, inputs, model=identity(params.embed))
    with tables.writer(tables.path(folder, "embeddings"), table.schema, about) as out:
        out.write_table(table, row_group_size=tables.ROW_GROUP)
    return Made(len(texts), int(np.count_nonzero(table["truncated"])))


def wanted(frame: pl.DataFrame, params: Params) -> list[str]:
    """Distinct texts in the order of first use: column by column of the ratings, each from top to bottom."""
    methods = {"wim": ratings.load("wim", params)} | ratings.wanted(params)
    columns = [column for method in methods.values() for column in method.texts(frame)]
    texts = [text for column in columns for text in column.drop_nulls().unique(maintain_order=True)]
    return list(dict.fromkeys(texts))


def _spread(params: Params) -> rows.Work[str] | None:
    """The work on a cluster, where the parameters ask for it."""
    if params.engine.scale == "local":
        return None
    from builder.cluster.work import embedding

    return embedding(params)


def embed(texts: Sequence[str], settings: Embed, work: rows.Work[str] | None = None) -> pa.Table:
    """Table of text_id, embedding, tokens (as the model's own tokeniser counts) and truncated.

    Texts are worked off in parts of like length, kept under the fingerprint of all of ``texts``: a run
    that was killed goes on with parts of the same composition, and so with the same bits. ``work``: who
    embeds them, if not an encoder in this process.
    """
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), texts[i]))
    ids = [text_id(text) for text in texts]
    keys = [ids[i] for i in order]
    done = rows.compute(
        "embed",
        {"model": identity(settings), "settings": vars(settings), "texts": sha256("\n".join(keys))},
        [(bytes.fromhex(ids[i]), texts[i]) for i in order],
        work or Encoder(settings).batches,
        "embed",
        len(texts),
    ).table()
    if not texts:
        return tables.embeddings_schema(1).empty_table()
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    done = done.take(pa.array(back)).combine_chunks()
    schema = tables.embeddings_schema(done.schema.field("embedding").type.list_size)
    return done.add_column(0, "text_id", pa.array(ids)).cast(schema)


def streamed(texts: Callable[[], Iterator[str]], total: int, settings: Embed, label: str) -> rows.Rows:
    """The rows of ``embed`` without their text_id, in the order of ``total`` texts that need not fit into memory.

    ``texts`` gives them anew at each call. The rows stay under .wim/ and are read in blocks.
    """
    every = hashlib.sha256()
    for text in texts():
        every.update(digest(text))
    settled = {"model": identity(settings), "settings": vars(settings), "texts": every.hexdigest()}
    items = ((digest(text), text) for text in texts())
    return rows.compute("embed", settled, items, Encoder(settings).batches, label, total)


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
