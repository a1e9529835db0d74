"""TRL's OnlineDPOTrainer, which takes for a preference what is none: such pairs are left out here, and counted.

TRL's own turns a reward of None into 0.0 and lets the first of two equal completions win.
"""

from typing import Any

import torch
from trl.experimental.online_dpo import OnlineDPOTrainer

LOGGED = ("pairs/unratable", "pairs/tied", "pairs/learned")
"""Shares of a step's pairs."""


class OnlineDPO(OnlineDPOTrainer):  # type: ignore[misc]
    """As TRL's, with one reward function. Left out, so that it has no part in the gradient, is a pair of which

    - one completion has no reward (None);
    - the rewards are no further apart than ``min_gap``, or the texts equal, unless ``ties`` is ``keep``.

    The loss stays the mean over all pairs of a batch, in which a pair left out counts ln 2 (sigmoid); what is logged of
    it is defined in train/running/metrics.py. Of each completion the first ``max_completion``
    tokens enter the loss (None: all).
    """

    min_gap = 0.0
    ties = "drop"
    max_completion: int | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.stats |= {name: [] for name in LOGGED}

    def _generate(self, model: Any, prompts: Any, images: Any = None) -> Any:
        made = super()._generate(model, prompts, images)
        self._mask = made[3]
        if self.max_completion is not None:
            self._mask[:, self.max_completion :] = 0
        return made

    def _calculate_rewards_from_functions(
        self, prompts: Any, completions: Any, completion_ids_list: Any, **columns: Any
    ) -> torch.Tensor:
        """float32 [2 x pairs], first completions before second ones. TRL sums log-probabilities after this call."""
        (reward,) = self.reward_funcs
        given = reward(
            prompts=prompts,
            completions=completions,
            completion_ids=completion_ids_list,
            trainer_state=self.state,
            **columns,
        )
        rewards = torch.tensor([float("nan") if r is None else r for r in given], dtype=torch.float64)
        half = len(completions) // 2
        same = torch.tensor([a == b for a, b in zip(completions[:half], completions[half:], strict=True)])
        learned, known = self._sorted_out(rewards, same)
        self._mask[~learned.repeat(2).to(self._mask.device)] = 0
        mean = rewards[known.repeat(2)].mean().nan_to_num()
        return torch.where(known.repeat(2), rewards, mean).float().to(self._mask.device)

    def _sorted_out(self, rewards: torch.Tensor, same: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Which pairs are learned from, and of which both rewards are known."""
        gaps = torch.sub(*rewards.chunk(2)).abs().round(decimals=9)
        known = ~gaps.isnan()
        tied = known & ((gaps <= self.min_gap) | same) & (self.ties == "drop")
        learned = known & ~tied
        for name, pairs in zip(LOGGED, (~known, tied, learned), strict=True):
            self.stats[name].append(pairs.double().mean().item())
        return learned, known
