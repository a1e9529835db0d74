"""TRL's RewardTrainer with the losses of losses.py. torch and TRL are loaded with this file."""

from typing import Any

import torch
from torch import nn
from trl import RewardTrainer

from builder.reward_model import model as scoring
from train.reward_model import losses


class Learner(RewardTrainer):  # type: ignore[misc]
    """As TRL's, of a PEFT model whose ``score`` is a ``Head``, on batches of collator.py.

    ``loss``: a name in losses.py. ``aspect_weight``: of the squared error of the aspects' heads beside it.
    ``threshold_rate``: the thresholds' own learning rate; under the model's they would hardly move.
    """

    loss = "bradley_terry"
    aspect_weight = 1.0
    threshold_rate = 1e-2

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        del num_items_in_batch
        found = scoring.forward(model, inputs["input_ids"], inputs["attention_mask"], inputs["prompts"])
        thresholds = scoring.head(model).thresholds
        each = losses.of_batch(self.loss, found.reward, inputs, thresholds() if thresholds else None)
        loss = each.mean()
        logged = self._seen(found.reward.detach(), inputs)
        if found.aspects is not None:
            error = losses.squared_error(found.aspects, inputs["aspects"])
            loss = loss + self.aspect_weight * error
            logged["aspects/mse"] = error.item()
        for name, value in logged.items():
            self._metrics["train"][name].append(value)
        self._total_train_tokens += int(inputs["attention_mask"].sum())
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return (loss, found) if return_outputs else loss

    def _seen(self, rewards: torch.Tensor, inputs: dict[str, Any]) -> dict[str, float]:
        """Under TRL's names; the margin of a list is from the mean of its best to the mean of the others."""
        lists, best = inputs["lists"], inputs["best"]
        inside = lists == torch.arange(int(lists.max()) + 1, device=lists.device)[:, None]
        means, tops = [], []
        for side in (inside & best, inside & ~best):
            means.append((side * rewards).sum(1) / side.sum(1))
            tops.append(torch.where(side, rewards, -torch.inf).amax(1))
        return {
            "accuracy": (tops[0] > tops[1]).double().mean().item(),
            "margin": (means[0] - means[1]).mean().item(),
            "mean_reward": rewards.mean().item(),
            "min_reward": rewards.min().item(),
            "max_reward": rewards.max().item(),
        }

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        thresholds = scoring.head(self.model).thresholds
        if thresholds is not None and len(thresholds.gaps) and not _has_group(optimizer, thresholds.gaps):
            for group in optimizer.param_groups:
                group["params"] = [weight for weight in group["params"] if weight is not thresholds.gaps]
            own = {"params": [thresholds.gaps], "lr": self.threshold_rate, "weight_decay": 0.0}
            optimizer.add_param_group(own)
        return optimizer


def _has_group(optimizer: torch.optim.Optimizer, weight: torch.Tensor) -> bool:
    """Whether a group of the optimiser holds nothing but ``weight``."""
    return any(len(g["params"]) == 1 and g["params"][0] is weight for g in optimizer.param_groups)
