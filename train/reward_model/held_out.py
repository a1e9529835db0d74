"""What a trained reward model gives the prompts that it did not learn from: RUN/reward/metrics.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import torch

from builder.reward_model import model as scoring
from builder.reward_model.head import Rewards
from builder.reward_model.tokens import Tokens
from train.reward_model import losses, measure
from train.reward_model.aspects import Aspects


def measured(
    model: Any, tokens: Mapping[str, Tokens], held: pl.DataFrame, judged: pl.DataFrame, aspects: Aspects | None,
    loss: str, batch_size: int,
) -> dict[str, Any]:  # fmt: skip
    """``held``: examples of the loss; ``judged``: pairs with a preference (chosen_id, rejected_id).

    Without any of them the numbers are None. ``loss`` is that of the loss's name; ``nll``, ``accuracy`` and
    ``calibration_error`` are of ``judged`` and compare between losses (measure.py). With thresholds also these, and
    ``graded_nll``, -log P(grade) under them.
    """
    names = list(dict.fromkeys([*_names(held), *judged["chosen_id"], *judged["rejected_id"]]))
    found = scoring.of_tokens(model, [tokens[name] for name in names], batch_size) if names else None
    place = {name: row for row, name in enumerate(names)}
    thresholds = scoring.head(model).thresholds
    limits = thresholds().detach().cpu().double() if thresholds is not None else None
    result: dict[str, Any] = {"loss": None, "accuracy": None, "nll": None, "calibration_error": None}
    result |= {"pairs_held_out": len(judged), "examples_held_out": len(held)}
    if found is not None and len(judged):
        result |= _preferences(
            found, [place[n] for n in judged["chosen_id"]], [place[n] for n in judged["rejected_id"]]
        )
    if found is not None and len(held):
        result |= _losses(found, held, place, loss, limits)
    if limits is not None:
        result["thresholds"] = limits.tolist()
    if found is not None and aspects:
        result["aspects"] = _aspects(found, names, aspects)
    return result


def _names(held: pl.DataFrame) -> list[str]:
    return [name for side in ("chosen", "rejected") for name in held[side].explode().drop_nulls()]


def _preferences(found: Rewards, chosen: Sequence[int], rejected: Sequence[int]) -> dict[str, float]:
    reward = found.reward.double().numpy()
    difference = reward[chosen] - reward[rejected]
    return {
        "accuracy": measure.accuracy(difference),
        "nll": measure.nll(difference),
        "calibration_error": measure.calibration_error(difference),
    }


def _losses(
    found: Rewards, held: pl.DataFrame, place: Mapping[str, int], loss: str, limits: torch.Tensor | None
) -> dict[str, float]:
    """Means over the held-out examples."""
    sides = list(held.select("chosen", "rejected").iter_rows())
    rewards = found.reward.double()[[place[name] for chosen, rejected in sides for name in (*chosen, *rejected)]]
    batch = {
        "lists": torch.tensor([i for i, (chosen, rejected) in enumerate(sides) for _ in (*chosen, *rejected)]),
        "best": torch.tensor([x for c, r in sides for x in [True] * len(c) + [False] * len(r)]),
        "target": torch.tensor(held["target"].to_list(), dtype=torch.float64),
    }
    result = {"loss": losses.of_batch(loss, rewards, batch, limits).mean().item()}
    if limits is not None:
        result["graded_nll"] = losses.of_batch("ordinal_nll", rewards, batch, limits).mean().item()
    return result


def _aspects(found: Rewards, names: Sequence[str], aspects: Aspects) -> dict[str, dict[str, float | None]]:
    """Of each aspect the mean squared error in standard units (1: no better than the mean) and the mean weight."""
    assert found.aspects is not None
    assert found.weights is not None
    targets = torch.tensor([[torch.nan if n is None else n for n in aspects.targets[name]] for name in names])
    errors = ((found.aspects - targets) ** 2).nanmean(0).tolist()
    weights = found.weights.mean(0).tolist()
    return {
        name: {"mse": None if error != error else error, "weight": weight}
        for name, error, weight in zip(aspects.names, errors, weights, strict=True)
    }
