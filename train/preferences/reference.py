"""Reference log-probabilities: worked out once, kept under .wim/train, given to TRL as columns.

A training step then runs the policy and nothing else, and no copy of the adapter is left that a checkpoint could
bring back in the policy's place. A batch is kept as one row whose key is its token ids, since the last digits of a
log-probability depend on what it was padded with; the folder stands for all else that determines it.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import polars as pl
import pyarrow as pa

from builder import rows
from builder.ids import canonical_json, digest
from builder.language.policy import Policy
from builder.params import Train
from train.adapter import drop_copy
from train.running import workers

SIDES = ("ref_chosen_logps", "ref_rejected_logps")
"""As TRL names them: natural logarithms, summed over the completion's tokens."""
TOGETHER = 32
"""Batches in one kept part: no more are worked out again after a kill."""

Batch = list[int]
"""Pairs by their place in the table."""


def added(trainer: Any, pairs: pl.DataFrame, start: Policy, settings: Train) -> pl.DataFrame:
    """The tokenized ``pairs`` with the columns SIDES under the reference; the trainer's copy of the adapter goes."""
    if settings.reference == "base":
        drop_copy(trainer)  # without it TRL's reference is the model with its adapter off
    reference = start if settings.reference == "previous" else Policy(start.model, start.revision)
    batches = _batches(pairs, min(settings.device_batch, settings.batch))
    tokens = pairs.select("prompt_ids", "chosen_ids", "rejected_ids")

    def worked_out() -> list[Any]:
        kept = rows.compute(
            "train",
            {"policy": reference.about(), "settings": _settings(trainer, settings)},
            ((digest(canonical_json(tokens[batch].to_dict(as_series=False))), batch) for batch in batches),
            _Work(trainer, tokens),
            "reference",
            len(batches),
        ).table()
        return [kept[side].combine_chunks().flatten().to_numpy() for side in SIDES]

    found = workers.by_main(worked_out)
    drop_copy(trainer)
    place = pl.Series("place", [place for batch in batches for place in batch], pl.Int64)
    columns = [pl.Series(side, values, pl.Float32) for side, values in zip(SIDES, found, strict=True)]
    return pairs.hstack(pl.DataFrame([place, *columns]).sort("place").drop("place"))


def _settings(trainer: Any, settings: Train) -> dict[str, Any]:
    return {
        "stage": "reference",
        "bf16": settings.bf16,
        "attention": settings.attention,
        "device": trainer.args.device.type,
    }


def _batches(pairs: pl.DataFrame, size: int) -> list[Batch]:
    """Pairs of like length together: little is padded."""
    longest = pl.col("prompt_ids").list.len() + pl.max_horizontal(
        pl.col("chosen_ids").list.len(), pl.col("rejected_ids").list.len()
    )
    order = pairs.select(longest.arg_sort(descending=True)).to_series().to_list()
    return [order[i : i + size] for i in range(0, len(order), size)]


class _Work:
    """Works out batches by TRL's own function, so that the numbers are those of the stock trainer."""

    def __init__(self, trainer: Any, tokens: pl.DataFrame) -> None:
        from trl.trainer.dpo_trainer import DataCollatorForPreference

        self.trainer, self.tokens = trainer, tokens
        self.collate = DataCollatorForPreference(pad_token_id=trainer.processing_class.pad_token_id)

    def __call__(self, batches: Iterator[Batch], done: rows.Done) -> Iterator[rows.Batch]:
        self.trainer.model.eval()  # train() sets it back
        numbered = enumerate(batches)
        while some := list(islice(numbered, TOGETHER)):
            made = []
            for _, batch in some:
                made.append(self._log_probs(batch))
                done(1, 0)
            yield [i for i, _ in some], pa.table({side: [row[side] for row in made] for side in SIDES}, _SCHEMA)

    def _log_probs(self, batch: Batch) -> dict[str, list[float]]:
        inputs = self.collate(self.tokens[batch].to_dicts())
        inputs = {name: tensor.to(self.trainer.args.device) for name, tensor in inputs.items()}
        found = self.trainer.compute_ref_log_probs(self.trainer.model, inputs)
        return {side: tensor.float().tolist() for side, tensor in zip(SIDES, found, strict=True)}


_SCHEMA = pa.schema([pa.field(side, pa.list_(pa.float32())) for side in SIDES])
