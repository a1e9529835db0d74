"""Best of n: several completions of a prompt are drawn, and a reward model says which of them counts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder import generate, ids
from builder.engines import Request, Sampling
from builder.judgements import is_empty
from builder.language.policy import Policy
from builder.params import Params
from builder.reward_model import scores


def best_of(prompts: pl.DataFrame, by: Policy, params: Params, engine: generate.Lazy) -> pl.DataFrame:
    """Of each prompt (prompt_id, messages) the ``text`` of the highest ``reward``, and all texts ``drawn``.

    ``evaluate.n`` are drawn, each with a seed of its own; of equals the first is the best. One that is empty, or too
    long for the reward model, is so only where all are, and its reward is null.
    """
    settings = params.evaluate
    assert settings.best_by is not None
    sampling = Sampling(settings.temperature, settings.max_tokens)
    plan = [
        (turns, ids.seed_of(params.seed, ids.completion_id(name, index)))
        for name, turns in prompts.select("prompt_id", "messages").iter_rows()
        for index in range(settings.n)
    ]
    requests = (Request(tuple(turns), by, seed, sampling) for turns, seed in plan)
    done = generate.generate("evaluate", requests, len(plan), by, engine, "evaluate")
    texts = [text for block in done.blocks(columns=["text"]) for text in block["text"].to_pylist()]
    answered = ((turns, text) for (turns, _), text in zip(plan, texts, strict=True))
    found = counting(scores.rewards(Path(settings.best_by), answered, len(plan), params), texts).reshape(-1, settings.n)
    best = np.where(np.isnan(found), -np.inf, found).argmax(1)
    drawn = [texts[start : start + settings.n] for start in range(0, len(texts), settings.n)]
    chosen = [each[place] for each, place in zip(drawn, best, strict=True)]
    reward = pl.Series("reward", found[np.arange(len(best)), best], pl.Float64).fill_nan(None)
    return pl.DataFrame([pl.Series("text", chosen, pl.String), reward, pl.Series("drawn", drawn, pl.List(pl.String))])


def counting(rewards: NDArray[np.float64], texts: Sequence[str]) -> NDArray[np.float64]:
    """``rewards`` [completions], NaN also where the text is empty: such a completion is never ratable."""
    empty = pl.DataFrame({"text": texts}, {"text": pl.String}).select(is_empty(pl.col("text"))).to_series()
    return np.where(empty.to_numpy(), np.nan, rewards)
