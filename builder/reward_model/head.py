"""What stands on the language model: from hidden states to a reward.

One number of the last token's state; or a number for each aspect, added up under weights that a gate reads from the
prompt alone (ArmoRM: Wang et al., "Interpretable Preferences via Multi-Objective Reward Modeling and
Mixture-of-Experts", arXiv:2406.12845). It stands in the place of ``score`` of a sequence classification model of
transformers, so that PEFT saves and loads all of it with the adapter, thresholds included.
"""

from typing import NamedTuple

import torch
from torch import nn

from builder.reward_model.thresholds import Thresholds

WIDTH = 64
"""Of the gate's hidden layer."""


class Rewards(NamedTuple):
    """``reward`` [rows]; ``aspects`` and ``weights`` [rows, aspects], whose products add up to it, or None."""

    reward: torch.Tensor
    aspects: torch.Tensor | None = None
    weights: torch.Tensor | None = None


class Head(nn.Linear):
    """``size``: of a hidden state. ``aspects``: how many, 0 for one number. ``grades``: 0 without thresholds.

    All rewards are 0 in the beginning: what is learned starts from no preference, and not from one by chance.
    """

    def __init__(self, size: int, aspects: int = 0, grades: int = 0) -> None:
        super().__init__(size, aspects or 1, bias=aspects > 0)
        nn.init.zeros_(self.weight)
        if aspects:
            nn.init.zeros_(self.bias)
        self.gate = Gate(size, aspects) if aspects else None
        self.thresholds = Thresholds(grades) if grades else None

    def rewards(self, last: torch.Tensor, prompt: torch.Tensor) -> Rewards:
        """Of [rows, size] hidden states: of the last token, and of the prompt's last, which a gate reads.

        In the head's own precision also where a model is trained in 16 bits: of a reward of 10 these tell sixteenths.
        """
        with torch.autocast(last.device.type, enabled=False):
            values = self(last.to(self.weight.dtype))
            if self.gate is None:
                return Rewards(values[:, 0])
            weights = self.gate(prompt.to(self.weight.dtype))
            return Rewards((weights * values).sum(1), values, weights)


class Gate(nn.Module):
    """Weights [rows, aspects] above 0 of hidden states [rows, size]; a row adds up to the learned ``scale``."""

    def __init__(self, size: int, aspects: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(size, WIDTH), nn.Linear(WIDTH, aspects)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, prompt: torch.Tensor) -> torch.Tensor:
        weights: torch.Tensor = self.log_scale.exp() * self.out(self.hidden(prompt).relu()).softmax(-1)
        return weights
