"""A reward model's head fitted to features that are given, without a language model: for comparisons and for tests."""

from collections.abc import Mapping

import torch

from builder.reward_model.head import Head
from train.reward_model import losses


def fit(
    head: Head,
    features: torch.Tensor,
    batch: Mapping[str, torch.Tensor],
    loss: str,
    prompts: torch.Tensor | None = None,
    aspect_weight: float = 1.0,
    penalty: float = 0.0,
    steps: int = 500,
) -> float:
    """Lower the mean loss of the whole ``batch`` by L-BFGS until it stays; gives what it ends with.

    ``features`` [completions, size] stand for the last tokens' hidden states, ``prompts``, alike, for those of the
    prompts, which a gate reads. ``batch`` as collator.py makes it, without tokens. ``penalty`` times the squared length
    of the head's weight is added.
    """
    weights = list(head.parameters())
    optimizer = torch.optim.LBFGS(
        weights, max_iter=steps, line_search_fn="strong_wolfe", tolerance_grad=1e-9, tolerance_change=1e-12
    )

    def closure() -> float:
        optimizer.zero_grad()
        total = objective(head, features, batch, loss, prompts, aspect_weight) + penalty * head.weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total.item()

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return float(objective(head, features, batch, loss, prompts, aspect_weight))


def objective(
    head: Head,
    features: torch.Tensor,
    batch: Mapping[str, torch.Tensor],
    loss: str,
    prompts: torch.Tensor | None = None,
    aspect_weight: float = 1.0,
) -> torch.Tensor:
    """The mean loss that a training step minimises."""
    found = head.rewards(features, features if prompts is None else prompts)
    limits = head.thresholds() if head.thresholds else None
    mean = losses.of_batch(loss, found.reward, batch, limits).mean()
    if found.aspects is None or "aspects" not in batch:
        return mean
    return mean + aspect_weight * losses.squared_error(found.aspects, batch["aspects"])
