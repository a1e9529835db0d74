"""TRL's collator; a pair's own numbers, where it has any, go into the batch as well."""

from typing import Any

from train.preferences import lists

NUMBERS = ("offset", "weight", *lists.COLUMNS)
"""Columns of the training pairs, beside TRL's; a batch holds each as a tensor of one number for each pair."""
EXACT = ("score_chosen", "score_rejected")
"""Held in 64 bits: what is a tie is told after rounding to 9 decimals."""


def made(tokenizer: Any) -> Any:
    """A collator that pads with the tokenizer's padding token."""
    import torch
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    class WithNumbers(DataCollatorForPreference):  # type: ignore[misc]
        def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
            examples = lists.flat(examples)
            batch: dict[str, Any] = super().torch_call(examples)
            present = [name for name in NUMBERS if name in examples[0]]
            kinds = {name: torch.float64 if name in EXACT else None for name in present}
            return batch | {name: torch.tensor([e[name] for e in examples], dtype=kinds[name]) for name in present}

    return WithNumbers(pad_token_id=tokenizer.pad_token_id)
