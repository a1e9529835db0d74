"""`wim train reward` by each loss in the demo's world: what it learns with LoRA, held against the truth."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import torch

from bench.reward import compare, demo, learn
from bench.reward.compare import Row
from bench.reward.graded import Graded, Places
from bench.reward.learn import Fitted
from builder.params import Params

METHOD = "rate.method=numerical"
TRAINING = (METHOD, "train.batch=16", "train.learning_rate=1e-3")


def compared(seed: int, steps: int, limit: int | None) -> Iterator[Row]:
    """Every measure of every loss; ``seed`` draws who is held out, and the course of the training."""
    from train import reward

    folder, given = demo.judged(METHOD, limit)
    texts = demo.completions(folder)
    data = demo.graded(texts, given)
    sets = (*TRAINING, f"seed={seed}", f"train.max_steps={steps}", f"reward.held_out={compare.HELD_OUT}")
    out = reward.held_out(texts["prompt_id"], demo.settings(*sets))
    held = np.unique(data.prompt[texts["prompt_id"].is_in(list(out)).to_numpy()])
    learned = np.setdiff1d(data.prompt, held)
    cuts = learn.cuts_of(data, learned)
    for loss in learn.LOSSES:
        found = _trained(folder, texts, data, learned, cuts, demo.settings(*sets, f"reward.loss={loss}"))
        for reference, name, value in compare.measures(data, found, held, cuts):
            yield Row(seed, 1.0, loss, reference, name, value)


def _trained(
    folder: Path, texts: pl.DataFrame, data: Graded, learned: Places, cuts: tuple[float, ...], given: Params
) -> Fitted:
    from builder.reward_model import scores, stored
    from train import reward

    reward.run(folder, given)
    asked = texts.select("messages", "text").iter_rows()
    values = scores.rewards(folder / reward.FOLDER, asked, len(texts), given)
    limits = stored.read(folder / reward.FOLDER).thresholds
    if limits is None:
        return Fitted(values, learn.thresholds_under(data, torch.from_numpy(values), learned, cuts))
    return Fitted(values, torch.tensor(limits, dtype=torch.float64))
