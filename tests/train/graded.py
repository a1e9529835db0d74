"""Graded preferences drawn from the cumulative-link model: the truth is known."""

from dataclasses import dataclass

import numpy as np
import torch

from builder.reward_model.head import Head
from train.reward_model import fit

TRUE = (-1.5, -0.5, 0.5, 1.5)


@dataclass(frozen=True)
class Drawn:
    """``features`` [2 x pairs, size] of chosen and rejected in turn; ``batch`` for losses.py, with ``target`` grades.

    ``latent`` [pairs]: the difference of the true rewards with its logistic noise, of which the grade is a cut.
    """

    features: torch.Tensor
    batch: dict[str, torch.Tensor]
    latent: torch.Tensor

    @property
    def difference(self) -> torch.Tensor:
        return self.features[0::2] - self.features[1::2]


def draw(pairs: int, size: int, seed: int, thresholds: tuple[float, ...] = TRUE, strength: float = 1.0) -> Drawn:
    """The true weight is ``strength`` in every direction. Half of the pairs stand the other way round by chance."""
    made = np.random.default_rng(seed)
    features = torch.from_numpy(made.normal(size=(2 * pairs, size)))
    truth = strength * (features[0::2] - features[1::2]).sum(1)
    latent = truth + torch.from_numpy(made.logistic(size=pairs))
    grades = (latent[:, None] > torch.tensor(thresholds)).sum(1)
    lists, best = torch.arange(pairs).repeat_interleave(2), torch.tensor([True, False]).repeat(pairs)
    return Drawn(features, {"lists": lists, "best": best, "target": grades}, latent)


def preferred(drawn: Drawn) -> Drawn:
    """The same pairs with the preferred completion first, as Bradley-Terry reads them: by the latent preference."""
    order = torch.where((drawn.latent > 0)[:, None], torch.tensor([0, 1]), torch.tensor([1, 0]))
    rows = (2 * torch.arange(len(drawn.latent))[:, None] + order).flatten()
    grades = len(TRUE) - drawn.batch["target"]
    batch = drawn.batch | {"target": torch.where(drawn.latent > 0, drawn.batch["target"], grades)}
    return Drawn(drawn.features[rows], batch, drawn.latent.abs())


def fitted(drawn: Drawn, loss: str, grades: int = 0, penalty: float = 0.0) -> Head:
    head = Head(drawn.features.shape[1], grades=grades).double()
    fit.fit(head, drawn.features, drawn.batch, loss, penalty=penalty)
    return head
