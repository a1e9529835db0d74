"""Thresholds between grades of preference: learnable, increasing, and symmetric around 0 by construction.

With the difference d of two rewards, P(grade >= k) = sigmoid(d - t_k) for k = 1 .. grades - 1, the cumulative-link
model (McCullagh, "Regression models for ordinal data", 1980). Symmetric, because a pair told the other way round has
the difference -d and the grade grades - 1 - y: both must be equally likely. An even number of grades has no middle,
and its middle threshold is 0.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

LEAST = 1e-3
"""No two thresholds begin nearer than this."""


class Thresholds(nn.Module):
    """``grades`` - 1 of them, at the quantiles of the logistic distribution until ``begin_at`` says where."""

    def __init__(self, grades: int) -> None:
        super().__init__()
        self.grades = grades
        self.gaps = nn.Parameter(torch.empty((grades - 1) // 2))
        self.begin_at([1.0] * grades)

    def forward(self) -> torch.Tensor:
        """[grades - 1], increasing; of two that stand opposite each other one is exactly minus the other."""
        above = functional.softplus(self.gaps).cumsum(0)
        middle = above.new_zeros(1 - self.grades % 2)
        return torch.cat([-above.flip(0), middle, above])

    @torch.no_grad()
    def begin_at(self, counts: Sequence[float]) -> None:
        """The most likely thresholds of a model that knows no difference, from how many pairs have each grade.

        ``counts`` [grades], taken both ways round; half a pair is added to each, so that all are finite.
        """
        seen = torch.tensor(counts, dtype=torch.float64)
        both = seen + seen.flip(0) + 0.5
        at_least = both.flip(0).cumsum(0).flip(0) / both.sum()
        above = -torch.logit(at_least[1:])[self.grades // 2 :]
        gaps = above.diff(prepend=above.new_zeros(1)).clamp(min=LEAST)
        self.gaps.copy_(gaps + torch.log(-torch.expm1(-gaps)))  # the inverse of softplus
