"""Contrastive search (Su et al., 2022), for judge text as in the paper.

The next token is the one of the k most probable that maximises
(1 - alpha) p(token) - alpha max_j cos(h(token), h_j) over all earlier positions j. transformers
moved its own to a repository on the Hub that needs remote code, so it stands here.
"""

from typing import Any

import torch
from torch.nn.functional import normalize


@torch.inference_mode()
def search(
    model: Any,
    input_ids: torch.Tensor,
    logits_processor: Any = None,
    stopping_criteria: Any = None,
    generation_config: Any = None,
    cs_alpha: float = 0.6,
    cs_k: int = 4,
    **kwargs: Any,
) -> torch.Tensor:
    """A generation loop for ``generate(custom_generate=search)``: ids [batch, length] to longer ids.

    alpha 0 is greedy search. Keeps the key-value cache, in which each row stands k times.
    """
    rows = torch.arange(len(input_ids), device=input_ids.device)
    padding, ends = generation_config._pad_token_tensor, generation_config._eos_token_tensor
    mask = kwargs.get("attention_mask")
    mask = torch.ones_like(input_ids) if mask is None else mask
    done = torch.zeros_like(rows, dtype=torch.bool)
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    out = model(input_ids, attention_mask=mask, position_ids=positions, use_cache=True, output_hidden_states=True)
    cache, logits, position = out.past_key_values, out.logits[:, -1], positions[:, -1:]
    context = normalize(out.hidden_states[-1], dim=-1).masked_fill(mask[..., None] == 0, 0.0)
    while True:
        scores = logits_processor(input_ids, logits) if logits_processor else logits
        probabilities, candidates = scores.softmax(-1).topk(cs_k, -1)
        position = position + 1
        mask = torch.cat([mask, torch.ones_like(position)], 1)
        cache.batch_repeat_interleave(cs_k)
        out = model(
            candidates.reshape(-1, 1),
            attention_mask=mask.repeat_interleave(cs_k, 0),
            position_ids=position.repeat_interleave(cs_k, 0),
            past_key_values=cache,
            use_cache=True,
            output_hidden_states=True,
        )
        hidden = normalize(out.hidden_states[-1][:, -1], dim=-1).view(len(rows), cs_k, -1)
        likeness = _likeness(hidden, context, mask[:, :-1])
        best = ((1 - cs_alpha) * probabilities - cs_alpha * likeness).argmax(-1)
        cache.batch_select_indices(rows * cs_k + best)
        logits = out.logits[:, -1].view(len(rows), cs_k, -1)[rows, best]
        context = torch.cat([context, hidden[rows, best][:, None]], 1)
        token = torch.where(done, padding, candidates[rows, best])
        input_ids = torch.cat([input_ids, token[:, None]], 1)
        if ends is not None:
            done = done | torch.isin(token, ends)
        done = done | stopping_criteria(input_ids, None)
        if done.all():
            return input_ids


def _likeness(hidden: torch.Tensor, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Largest cosine of each candidate [batch, k, size] with the context [batch, length, size]."""
    cosine = torch.einsum("bkd,btd->bkt", hidden, context)
    return cosine.masked_fill(mask[:, None] == 0, -1.0).amax(-1)
