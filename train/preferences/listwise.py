"""Losses over all ranked completions of a prompt, of which TRL has none: LiPO-lambda and PRO.

A list stands in the batch as pairs, its best with its worst, its second with its last but one: so TRL tokenizes it,
works out its log-probabilities and logs its rewards as it does for DPO, and the loss alone is another one.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from builder.compare import DECIMALS

SFT = 0.05
"""PRO's weight of the best completion's cross-entropy, times (length of the list - 1) squared."""


def lipo_lambda(scores: Tensor, values: Tensor, lists: Tensor, min_gap: float = 0.0) -> Tensor:
    """LambdaLoss on rewards (Liu et al., 2024, arXiv:2402.01878): a pair counts by what its swap would cost.

    ``scores`` [n]: beta * log(policy / reference) of each completion; ``values`` [n], float64: how good it is, higher
    is better; ``lists`` [n]: its prompt's number, from 0 on. Gains are 2^value, discounts the logarithm of 1 + the rank
    by score, equal scores in the order given. The mean over lists of the sum over their pairs; ties are no pair.
    """
    same, better = lists[:, None] == lists, _better(values, lists, min_gap)
    place = torch.arange(len(scores), device=scores.device)
    ahead = same & ((scores > scores[:, None]) | ((scores == scores[:, None]) & (place < place[:, None])))
    discount = 1 / (2 + ahead.sum(1)).to(scores.dtype).log()
    gain = torch.exp2(values).to(scores.dtype)
    swapped = ((gain[:, None] - gain) * (discount[:, None] - discount)).abs().detach()
    lost = softplus(scores - scores[:, None]) * swapped
    return lost[better].sum() / _count(lists)


def pro(scores: Tensor, values: Tensor, lists: Tensor, min_gap: float = 0.0) -> Tensor:
    """PRO (Song et al., 2024, arXiv:2306.17492) without its cross-entropy, on ``scores``: log p per token.

    Each completion against all that are worse, these less sharply the nearer their values are.
    """
    worse = _better(values, lists, min_gap)
    sharpness = torch.where(worse, values[:, None] - values, 0.0).to(scores.dtype)
    own = scores * sharpness.amax(1)
    others = torch.where(worse, scores * sharpness, -torch.inf)
    contrasted = worse.any(1)
    lost = torch.cat([own[:, None], others], 1).logsumexp(1) - own
    return lost[contrasted].sum() / _count(lists)


def sft(scores: Tensor, values: Tensor, lists: Tensor) -> Tensor:
    """PRO's cross-entropy: of the best completion of each list, by the token; of equals the first."""
    total = scores.new_zeros(())
    for number in range(_count(lists)):
        inside = (lists == number).nonzero().flatten()
        total = total - SFT * (len(inside) - 1) ** 2 * scores[inside[values[inside].argmax()]]
    return total / _count(lists)


def _better(values: Tensor, lists: Tensor, min_gap: float) -> Tensor:
    """[n, n]: whether the row's completion is better than the column's, in the same list and no tie (compare.py)."""
    gap = (values[:, None] - values).round(decimals=DECIMALS)
    return (lists[:, None] == lists) & (gap > min_gap)


def _count(lists: Tensor) -> int:
    return int(lists.max()) + 1


def extended(trainer: Any, loss: str, min_gap: float) -> Any:
    """The class ``trainer``, TRL's DPOTrainer, with a loss over lists; batches are those of ``collator``.

    ``min_gap``: two completions whose values are no further apart are tied.
    """

    class OnLists(trainer):  # type: ignore[misc]
        """TRL's own loss is worked out for what it logs, and goes no further."""

        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
            outputs: list[Any] = []

            def forward(**batch: Any) -> Any:
                outputs.append(model(**batch))
                return outputs[-1]

            own = ("list", "single", "score_chosen", "score_rejected")
            batch = {name: value for name, value in inputs.items() if name not in own}
            super().compute_loss(forward, batch, *args, **options)
            return self._over_lists(outputs[0].log_probs.sum(dim=1), inputs)

        def _over_lists(self, logps: Tensor, inputs: dict[str, Any]) -> Tensor:
            there = torch.cat([torch.ones_like(inputs["single"]), ~inputs["single"]])
            lists, reference, values = (
                torch.cat([inputs[name] for name in names])[there]
                for names in (
                    ("list", "list"), ("ref_chosen_logps", "ref_rejected_logps"), ("score_chosen", "score_rejected"),
                )
            )  # fmt: skip
            logps = logps[there]
            if loss == "lipo_lambda":
                return lipo_lambda(self.beta * (logps - reference), values, lists, min_gap)
            scores = logps / inputs["completion_mask"].sum(dim=1)[there]
            return pro(scores, values, lists, min_gap) + sft(scores, values, lists)

    return OnLists
