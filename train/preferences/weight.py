"""Pairs weighted by the gap in their ratings: a pair's loss counts delta / (mean delta of the pairs trained on) times.

So the weights' mean is 1, and learning rate and loss stay comparable with training without them; a pair that is no
preference at all (delta 0) teaches nothing. TRL has no column of weights, but multiplies each pair's loss by weights
that it reads off the policy's outputs (``use_weighting``; WPO, Zhou et al., 2024, arXiv:2406.11827): for chosen and
rejected completion each exp(mean over the completion's tokens of log_probs - log_sum_sq_probs). There the data's
weight w is put: with log_sum_sq_probs = log_probs - log(w) / 2 the product of both is w.
"""

from typing import Any

import polars as pl

from builder.errors import TableError
from builder.params import Train

NOTHING = 1e-300
"""Stands for a weight of 0, whose logarithm is not finite; float32 makes it 0 again."""


def added(pairs: pl.DataFrame, settings: Train) -> pl.DataFrame:
    """Pairs with the column ``weight``, of mean 1. Raises TableError where a delta is below 0, or all are 0."""
    if settings.weight == "none":
        return pairs
    below, total = len(pairs.filter(pl.col("delta") < 0)), pairs["delta"].sum()
    if below:
        raise TableError(f"train.weight: {below:,} of {len(pairs):,} pairs have a delta below 0")
    if not total:
        raise TableError(f"train.weight: all {len(pairs):,} pairs have the delta 0, so that none has a weight")
    return pairs.with_columns(weight=pl.col("delta") / (total / len(pairs)))


def extended(trainer: Any, settings: Train) -> Any:
    """The class ``trainer``, TRL's DPOTrainer, itself unless pairs are weighted."""

    class WithWeights(trainer):  # type: ignore[misc]
        """Hands the weights to TRL as what it would read off the policy's outputs."""

        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
            half = inputs["weight"].double().clamp(min=NOTHING).log()[:, None] / 2

            def forward(**batch: Any) -> Any:
                outputs = model(**batch)
                # 64 bits: the difference of nearly equal numbers that TRL takes then gives the weight back exactly
                outputs.log_sum_sq_probs = outputs.log_probs.detach().double() - half.repeat(2, 1)
                return outputs

            batch = {name: value for name, value in inputs.items() if name != "weight"}
            self.use_weighting = True  # not in the configuration: the model need not work out WPO's weights
            return super().compute_loss(forward, batch, *args, **options)

    return trainer if settings.weight == "none" else WithWeights
