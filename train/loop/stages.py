"""What the stages judge, embed and rate do, in memory and by their own functions: for who learns while it judges."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder import generate, judgements, rate, ratings, tables, wanted
from builder.encoder import Encoder
from builder.engines import Request
from builder.judging import asking, panel
from builder.judging.judged import Asked, frames
from builder.language.policy import Policy
from builder.params import Params
from train.loop.judging import Source

COLUMNS = {"completion_id": pl.String, "prompt_id": pl.String, "text": pl.String}
MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))


def judged(batch: pl.DataFrame, by: Policy, params: Params, source: Source) -> pl.DataFrame:
    """The feedback table of a batch (completion_id, prompt_id, text, messages), every attempt in it."""

    def answer(requests: Iterator[Request], total: int, label: str) -> generate.InMemory:
        del label
        return generate.InMemory(source.generate(requests), total)

    asked = _asked(batch, params)
    attempts = asking.attempts(asked, by, params, answer)
    empty = pl.DataFrame(schema=pl.Schema(tables.SCHEMAS["feedback"]))
    rows = (frame.select(empty.columns) for frame in frames(asked, attempts, params.judge.name))
    return pl.concat([empty, *rows])


def _asked(batch: pl.DataFrame, params: Params) -> Asked:
    completions = batch.select(judgements.COMPLETIONS).sort("completion_id")
    prompts = batch.select("prompt_id", "messages").unique("prompt_id", keep="first", maintain_order=True)
    return Asked(prompts, lambda: iter([completions]), panel.single(params, "the reward in the loop takes"))


def rated(batch: pl.DataFrame, feedback: pl.DataFrame, encoder: Encoder, params: Params) -> pl.DataFrame:
    """The ratings table of a batch and its feedback, by completion_id."""
    frame = judgements.collect(batch.select(judgements.COMPLETIONS), feedback)
    if ratings.reads_prompts(ratings.wanted(params).values()):
        frame = judgements.with_prompts(frame, batch.select(judgements.PROMPTS).unique("prompt_id", keep="first"))
    return rate.rate(frame, _Vectors(wanted.of_frame(frame, params), encoder), params)


class _Vectors:
    """Vectors of one batch's texts, each text once. No vector is kept for the next batch.

    A vector's last bits depend on what it was embedded with: so they are the same in a run that was killed and
    went on, which has forgotten earlier batches.
    """

    def __init__(self, texts: list[str], encoder: Encoder) -> None:
        self.places = {text: place for place, text in enumerate(texts)}
        self.found = np.full((1, 1), np.nan, np.float32)
        if texts:
            table: Mapping[str, Any] = encoder(texts)
            vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(texts), -1)
            self.found = np.vstack([vectors, np.full_like(vectors[:1], np.nan)])

    def __call__(self, texts: pl.Series) -> NDArray[np.float32]:
        """As ``ratings.Vectors``; the last row stands for a null."""
        found: NDArray[np.float32] = self.found[[-1 if text is None else self.places[text] for text in texts]]
        return found
