"""Generic feedback: texts that say of one prompt's completion what others say of another prompt's (by FAISS)."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder import neighbours
from builder.errors import WimError
from builder.health import sample
from builder.neighbours import Floats
from builder.ratings import Vectors
from builder.ratings.wim import missing_text

MOST = 3_000
"""Texts that are compared, each with each. More are found in more texts, so that shares go with their n."""
SHOWN, LETTERS = 3, 120
QUERIES = 512


class Collected:
    """The vectors of a sample of the missing texts, taken while `wim rate` has them at hand block by block."""

    def __init__(self) -> None:
        self.texts = pl.DataFrame(schema={"prompt_id": pl.String, "feedback": pl.String})
        self.vectors: Floats | None = None

    def add(self, block: pl.DataFrame, vectors: Vectors) -> None:
        """The judgements that come next. Of what is no longer in the sample of all so far nothing is kept."""
        missing = missing_text(block)
        fresh = block.select("prompt_id", feedback=missing).with_row_index("row").drop_nulls("feedback")
        if not len(fresh):
            return
        known = self.texts.select(pl.lit(None, pl.UInt32).alias("row"), "prompt_id", "feedback")
        sampled = sample.rows(pl.concat([known, fresh]).with_row_index("place"), MOST)
        old, new = sampled.filter(pl.col("row").is_null()), sampled.drop_nulls("row")
        if len(new) or len(old) < len(known):
            # By way of Python: a view of some texts would keep all texts of their block in memory.
            self.texts = pl.DataFrame(sampled.select("prompt_id", "feedback").to_dict(as_series=False))
            taken = vectors(missing)[new["row"].to_numpy()]
            self.vectors = (
                taken if self.vectors is None else np.concatenate([self.vectors[old["place"].to_numpy()], taken])
            )

    def summary(self) -> dict[str, Any]:
        """``near_duplicates`` of what was taken."""
        if self.vectors is None:
            return {"share": None, "n": 0}
        return near_duplicates(self.texts["feedback"], self.texts["prompt_id"], self.vectors)


def near_duplicates(texts: pl.Series, prompts: pl.Series, vectors: Floats) -> dict[str, Any]:
    """``share`` of the texts with a near duplicate about another prompt, ``n`` of them, and the most frequent in words.

    ``unmeasured`` says why where FAISS is not installed. ``vectors``: [texts, dimensions], of any length; without a
    direction it is near none.
    """
    units = neighbours.units(vectors)
    try:
        index = neighbours.Index(units)
    except WimError:
        return {"share": None, "n": 0, "unmeasured": "FAISS is not installed (pip install faiss-cpu)"}
    prompt = prompts.rank("dense").cast(pl.Int64).to_numpy()
    others = np.concatenate(
        [_others(index, units[start : start + QUERIES], prompt, start) for start in range(0, len(units), QUERIES)]
    )
    share = round(float(np.mean(others > 0)), 6)
    return {"share": share, "n": len(units), "texts": _groups(index, units, texts, prompts, others)}


def _others(index: neighbours.Index, queries: Floats, prompt: NDArray[np.int64], start: int) -> NDArray[np.int64]:
    """How many texts about other prompts are near each query; the queries are the texts from ``start`` on."""
    query, found, _ = index.near(queries)
    strange = prompt[found] != prompt[start + query]
    return np.bincount(query[strange], minlength=len(queries))


def _groups(
    index: neighbours.Index, units: Floats, texts: pl.Series, prompts: pl.Series, others: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """The texts with the most near duplicates, each with those that no earlier group holds."""
    left, groups = others > 0, list[dict[str, Any]]()
    for _ in range(4 * SHOWN):
        if not left.any() or len(groups) == SHOWN:
            break
        middle = int(np.argmax(np.where(left, others, -1)))
        _, found, _ = index.near(units[middle : middle + 1])
        members = found[left[found]]
        left[found] = left[middle] = False
        if prompts.gather(members).n_unique() > 1:
            words = " ".join(texts[middle].split())
            words = words if len(words) <= LETTERS else words[:LETTERS] + "…"
            groups.append({"words": words, "judgements": len(members), "prompts": prompts.gather(members).n_unique()})
    return groups
