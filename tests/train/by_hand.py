"""What a model says of completions, worked out with transformers and torch alone: nothing of TRL, nothing of ours."""

from dataclasses import dataclass
from typing import Any

import polars as pl
import torch

from builder.language import models


@dataclass(frozen=True)
class Said:
    """Of each token of a completion: ``logits`` [tokens, vocabulary] it was predicted from, its ``ids``; ``read``
    counts the tokens of prompt and completion.
    """

    logits: torch.Tensor
    ids: torch.Tensor
    read: int

    def log_prob(self) -> torch.Tensor:
        return self.logits.log_softmax(-1).gather(1, self.ids[:, None]).sum()

    def entropies(self) -> torch.Tensor:
        probabilities = self.logits.softmax(-1)
        return -(probabilities * probabilities.log()).sum(-1)


def policy(start: Any) -> tuple[Any, Any]:
    """Tokenizer and model of a policy, its adapter loaded by PEFT's own function and open to gradients."""
    from peft import PeftModel

    tokenizer, model = models.load(start.model, start.revision, "float32")
    if start.adapter:
        model = PeftModel.from_pretrained(model, str(start.adapter), is_trainable=True)
    return tokenizer, model.eval()


def said(tokenizer: Any, model: Any, pairs: pl.DataFrame, side: str) -> list[Said]:
    """Of each pair's completion on that side, one by one and so without padding."""
    return [_said(tokenizer, model, pair["prompt"], pair[side]) for pair in pairs.to_dicts()]


def _said(tokenizer: Any, model: Any, prompt: Any, completion: Any) -> Said:
    asked = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template(prompt + completion, return_dict=True)["input_ids"]
    assert whole[: len(asked)] == asked
    logits = model(input_ids=torch.tensor([whole]), use_cache=False).logits[0]
    return Said(logits[len(asked) - 1 : -1], torch.tensor(whole[len(asked) :]), len(whole))


def log_probs(start: Any, pairs: pl.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """Of chosen and rejected completions under a policy."""
    tokenizer, model = policy(start)
    with torch.no_grad():
        chosen, rejected = (
            torch.stack([each.log_prob() for each in said(tokenizer, model, pairs, side)])
            for side in ("chosen", "rejected")
        )
    return chosen, rejected
