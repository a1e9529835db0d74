"""Examples as a batch of tensors: all their completions one below the other, and which of them belong together."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from builder.reward_model.model import padded
from builder.reward_model.tokens import Tokens


def collate(examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """``examples`` as examples.py makes them: a pair is a list of two.

    Gives input_ids and attention_mask [completions, tokens]; prompts [completions], the prompts' lengths; lists
    [completions], the example's place; best [completions], whether it is chosen; target [examples]; and, if there are
    any, aspects [completions, aspects], NaN where a number is not known.
    """
    sides = [(each["chosen_ids"], each["rejected_ids"]) for each in examples]
    ids = [tokens for side in sides for tokens in (*side[0], *side[1])]
    prompts = [count for each in examples for count in each["prompts"]]
    rows = [Tokens(tokens, count, False) for tokens, count in zip(ids, prompts, strict=True)]
    batch = dict(zip(("input_ids", "attention_mask", "prompts"), padded(rows), strict=True))
    batch["lists"] = torch.tensor([place for place, side in enumerate(sides) for _ in (*side[0], *side[1])])
    batch["best"] = torch.tensor([best for side in sides for best in [True] * len(side[0]) + [False] * len(side[1])])
    batch["target"] = torch.tensor([each["target"] for each in examples], dtype=torch.float32)
    if "aspects" in examples[0]:
        known = [[torch.nan if n is None else n for n in numbers] for each in examples for numbers in each["aspects"]]
        batch["aspects"] = torch.tensor(known, dtype=torch.float32)
    return batch
