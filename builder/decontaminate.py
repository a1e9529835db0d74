"""Prompts that nearly repeat one of a benchmark: what is trained on them would be measured on itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from builder import embed, judgements, neighbours
from builder.errors import InputError, WimError
from builder.params import Embed


@dataclass(frozen=True)
class Contaminated:
    """Prompts near a benchmark's: prompt_id, prompt, cosine, near (the benchmark's prompt), of (where it is from)."""

    found: pl.DataFrame

    def __len__(self) -> int:
        return len(self.found)

    def without(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """The prompts table without them."""
        return prompts.join(self.found, on="prompt_id", how="anti", maintain_order="left")


NONE = Contaminated(pl.DataFrame(schema={"prompt_id": pl.String}))


def find(prompts: pl.DataFrame, benchmarks: dict[str, pl.DataFrame], least: float, embedder: Embed) -> Contaminated:
    """Those of ``prompts`` whose text has a cosine above ``least`` to one of ``benchmarks``, each with the nearest.

    Both are prompts tables, the benchmarks' by where they are from. Texts are those of all turns but the system's.
    Raises WimError where FAISS is not installed, InputError where a benchmark holds no prompt.
    """
    try:
        neighbours.library()
    except WimError as error:
        raise WimError(f"prompts.decontaminate: {error}") from error
    for source, table in benchmarks.items():
        if table.is_empty():
            raise InputError(f"prompts.decontaminate: {source} holds no usable prompt")
    known = pl.concat(_said(table).with_columns(of=pl.lit(source)) for source, table in benchmarks.items())
    known = known.unique("said", keep="first", maintain_order=True)
    index = neighbours.Index(np.concatenate(list(_vectors(known["said"], embedder, "benchmarks"))))
    asked, start, found = _said(prompts), 0, []
    for vectors in _vectors(asked["said"], embedder, "decontaminate"):
        query, row, cosine = index.near(vectors, least)
        found.append(pl.DataFrame({"query": query + start, "row": row, "cosine": cosine}))
        start += len(vectors)
    return Contaminated(_told(pl.concat(found), asked, known))


def _told(found: pl.DataFrame, asked: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    nearest = found.sort("query", "cosine", "row", descending=[False, True, False]).unique(
        "query", keep="first", maintain_order=True
    )
    repeated, by = asked[nearest["query"].to_list()], known[nearest["row"].to_list()]
    return repeated.select("prompt_id", pl.col("said").alias("prompt")).with_columns(
        nearest["cosine"].cast(pl.Float64).round(6), by["said"].alias("near"), by["of"]
    )


def _said(prompts: pl.DataFrame) -> pl.DataFrame:
    return prompts.select("prompt_id", judgements.said().alias("said")).drop_nulls("said")


def _vectors(texts: pl.Series, embedder: Embed, label: str) -> Iterator[neighbours.Floats]:
    stored = embed.streamed(partial(iter, texts), len(texts), embedder, label)
    return (neighbours.units_of(block) for block in stored.blocks(embed.WINDOW, ["embedding"]))
