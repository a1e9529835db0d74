"""Losses of rewards, one number for each pair or list: pure functions of tensors, whatever gave the rewards.

``difference`` [pairs] is the reward of the chosen completion less that of the rejected one. ``grades`` [pairs] are
whole numbers from 0 (the rejected one is much better) to K - 1 (the chosen one is), ``thresholds`` [K - 1] increase:
P(grade >= k) = sigmoid(difference - thresholds[k - 1]).
"""

from collections.abc import Mapping

import torch
from torch.nn import functional


def bradley_terry(difference: torch.Tensor) -> torch.Tensor:
    """-log sigmoid(difference) (Bradley and Terry, 1952)."""
    return -functional.logsigmoid(difference)


def margin(difference: torch.Tensor, margins: torch.Tensor) -> torch.Tensor:
    """-log sigmoid(difference - margin), the margin set by hand (Touvron et al., "Llama 2", 2023)."""
    return -functional.logsigmoid(difference - margins)


def ordinal_nll(difference: torch.Tensor, grades: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """-log P(grade) of the cumulative-link model.

    sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), whose logarithm stays exact far from 0.
    """
    count = len(thresholds)
    above_lower, below_upper = grades > 0, grades < count
    lower, upper = thresholds[(grades - 1).clamp(min=0)], thresholds[grades.clamp(max=count - 1)]
    between = above_lower & below_upper
    # Two thresholds come together where no pair has the grade between them; a held-out pair may have it all the same.
    apart = (upper - lower).to(difference.dtype).clamp(min=torch.finfo(difference.dtype).tiny)
    gap = torch.where(between, apart, torch.ones_like(difference))
    none = torch.zeros_like(difference)
    parts = torch.where(above_lower, functional.logsigmoid(difference - lower), none)
    parts = parts + torch.where(below_upper, functional.logsigmoid(upper - difference), none)
    return -(parts + torch.where(between, torch.log(-torch.expm1(-gap)), none))


def all_threshold(difference: torch.Tensor, grades: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """A logistic loss at every threshold, summed (Rennie and Srebro, "Loss functions for preference levels", 2005)."""
    above = (grades[:, None] > torch.arange(len(thresholds), device=grades.device)).to(difference.dtype)
    margins = difference[:, None] - thresholds
    return functional.binary_cross_entropy_with_logits(margins, above, reduction="none").sum(1)


def listwise(rewards: torch.Tensor, lists: torch.Tensor, best: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the best among a list's completions: equation 8 of the paper, with its minus sign.

    -log(exp(r_best) / sum over the list of exp(r)), [lists]. ``rewards`` [completions]; ``lists`` says of each whose
    it is, from 0 on; ``best``: whether it is the best. Where several are, each has an equal share of the target.
    """
    count = int(lists.max()) + 1
    inside = lists == torch.arange(count, device=lists.device)[:, None]
    total = torch.where(inside, rewards, -torch.inf).logsumexp(1)
    shares = (inside & best).to(rewards.dtype)
    return total - (shares / shares.sum(1, keepdim=True)) @ rewards


def of_batch(
    loss: str, rewards: torch.Tensor, batch: Mapping[str, torch.Tensor], thresholds: torch.Tensor | None = None
) -> torch.Tensor:
    """The loss of that name of each pair or list in a batch as collator.py makes it, whose completions have
    ``rewards``. ``batch["target"]``: margins or grades, for the losses that read any.
    """
    best = batch["best"]
    if loss == "listwise":
        return listwise(rewards, batch["lists"], best)
    difference = rewards[best] - rewards[~best]
    if loss == "bradley_terry":
        return bradley_terry(difference)
    if loss == "margin":
        return margin(difference, batch["target"].to(difference.dtype))
    assert thresholds is not None
    ordinal = {"ordinal_nll": ordinal_nll, "all_threshold": all_threshold}[loss]
    return ordinal(difference, batch["target"].long(), thresholds)


def squared_error(values: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over the numbers that are known of [completions, aspects]; NaN stands for one that is not."""
    known = ~targets.isnan()
    return ((values - targets.nan_to_num()) ** 2 * known).sum() / known.sum().clamp(min=1)
