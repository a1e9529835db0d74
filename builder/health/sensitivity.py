"""Does WIM hang on the embedder? A sample of a run's texts embedded once more, by another model or in another way."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from builder import embed, judgements, tables
from builder.health import correlation, sample
from builder.language import models
from builder.params import Embed, Params
from builder.ratings import Vectors, wim
from builder.statuses import WimStatus

MOST = 500
"""Judgements, of whole prompts: the error of a correlation of 500 is below 0.05, and a CPU embeds their texts in
seconds to minutes."""
FILE = "embedders.json"


def run(folder: Path, settings: Embed) -> dict[str, Any]:
    """Rank correlation of the run's WIM with that of the embedder ``settings``; kept beside stats.json, by its name.

    Only texts that say what is missing count: where nothing is, every embedder says 1. The vectors stay under .wim/.
    """
    files = {name: tables.find(folder, name) for name in ("completions", "feedback", "ratings")}
    now = tables.fingerprints({name: files[name] for name in ("completions", "feedback")})
    tables.check_made_from(files["ratings"], now, "rate")
    judged = judgements.collect(
        tables.read(files["completions"], "completions", judgements.COMPLETIONS),
        tables.read(files["feedback"], "feedback", judgements.FEEDBACK),
    )
    ratings = tables.read(files["ratings"], "ratings", ["completion_id", "judge", "wim"])
    ratable = judged.filter(pl.col("wim_status") == str(WimStatus.MISSING), ~judgements.is_empty(pl.col("text")))
    drawn = sample.rows(ratable, MOST)
    other = wim.Rating(Params()).rate(drawn, _vectors(drawn, settings))
    both = drawn.select("completion_id", "prompt_id", "judge", other.alias("other"))
    both = both.join(ratings, on=["completion_id", "judge"], how="left", maintain_order="left")
    found = correlation.ranks(both, "wim", "other", ["prompt_id", "judge"])
    kept = known(folder) | {label(settings): found}
    tables.write_json(folder / FILE, tables.fingerprints({"ratings": files["ratings"]}) | {"embedders": kept})
    return found


def known(folder: Path) -> dict[str, Any]:
    """What was found on the run's ratings as they are now, by embedder."""
    file, ratings = folder / FILE, tables.path(folder, "ratings")
    if not file.is_file() or not ratings.is_file():
        return {}
    said = tables.read_json(file)
    current = tables.fingerprints({"ratings": ratings})["ratings"]
    embedders: dict[str, Any] = said["embedders"] if said.get("ratings") == current else {}
    return embedders


def label(settings: Embed) -> str:
    """The embedder's name, without a path."""
    revision = f"@{settings.revision}" if settings.revision else ""
    return f"{models.label(settings.model)}{revision}, {settings.truncation}"


def _vectors(judged: pl.DataFrame, settings: Embed) -> Vectors:
    """Looks up the texts of these judgements, embedded as ``settings`` say."""
    texts = pl.concat([judged["text"], judged["feedback"].alias("text")]).unique().sort()
    table = embed.embed(texts.to_list(), settings)
    size = table.schema.field("embedding").type.list_size
    vectors = np.concatenate([np.empty(0, np.float32), *(c.flatten().to_numpy() for c in table["embedding"].chunks)])
    vectors = vectors.reshape(len(texts), size)
    return lambda wanted: vectors[texts.search_sorted(wanted).to_numpy()]
