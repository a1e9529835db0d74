"""DPO with an offset (Amini et al., 2024, arXiv:2402.10571): the chosen one has to lead by more, the more it is better.

With alpha = ``train.offset`` the loss sees the margin of rewards less alpha * log(1 + delta): TRL has no such loss, but
adding alpha * log(1 + delta) / beta to the reference's log-probability of the chosen one is the same.
"""

from typing import Any

import polars as pl

from builder.errors import TableError
from builder.params import Train


def added(pairs: pl.DataFrame, settings: Train) -> pl.DataFrame:
    """Pairs with the column ``offset``, in the unit of rewards. Raises TableError where a delta is below 0."""
    if not settings.offset:
        return pairs
    below = len(pairs.filter(pl.col("delta") < 0))
    if below:
        raise TableError(f"train.offset: {below:,} of {len(pairs):,} pairs have a delta below 0")
    return pairs.with_columns(offset=settings.offset * pl.col("delta").log1p())


def extended(trainer: Any, settings: Train) -> Any:
    """The class ``trainer``, TRL's DPOTrainer, itself unless there is an offset."""

    class WithOffset(trainer):  # type: ignore[misc]
        """The loss sees the offset; rewards are logged without it. TRL has no place for that but this method."""

        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
            outputs: list[Any] = []

            def forward(**batch: Any) -> Any:
                outputs.append(model(**batch))
                return outputs[-1]

            offset, chosen = inputs["offset"], inputs["ref_chosen_logps"]
            batch = {name: value for name, value in inputs.items() if name != "offset"}
            batch["ref_chosen_logps"] = chosen + offset / self.beta
            loss = super().compute_loss(forward, batch, *args, **options)
            self._log_rewards(outputs[0].log_probs.detach().sum(dim=1), chosen, inputs["ref_rejected_logps"])
            return loss

        def _log_rewards(self, logps: Any, chosen_reference: Any, rejected_reference: Any) -> None:
            chosen, rejected = logps.chunk(2)
            chosen, rejected = self.beta * (chosen - chosen_reference), self.beta * (rejected - rejected_reference)
            found = {"chosen": chosen, "margins": chosen - rejected, "accuracies": (chosen > rejected).float()}
            logged = self._metrics["train" if self.model.training else "eval"]
            for name, values in found.items():
                logged[f"rewards/{name}"][-1] = self.accelerator.gather(values).mean().item()

    return WithOffset if settings.offset else trainer
