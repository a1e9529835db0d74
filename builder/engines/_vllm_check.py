"""A check that an engine keeps base model and adapters apart in one batch; there are vLLM kernels that do not."""

from collections.abc import Sequence
from typing import Any

from builder.errors import EngineError
from builder.language import chat

PROBES = ("Describe the weather.", "What is two and three?", "Name a colour.")
CHOICES = 20
"""Most likely first tokens that are compared."""


def check(core: Any, tokenizer: Any, adapters: Sequence[Any]) -> None:
    """Raise EngineError where rows of the base model come out as an adapter's if both are in the batch."""
    import torch

    policies = [None, *adapters]
    alone = [_first_tokens(core, tokenizer, [policy] * len(policies)) for policy in policies]
    mixed = _first_tokens(core, tokenizer, policies)
    # Rounding differs with the batch: what it can do to a probability is no sign of anything.
    rounding = max(1e-4, 4 * torch.finfo(core.vllm_config.model_config.dtype).eps)
    to_base = _distance(mixed, alone[0])
    for adapter, rows in zip(adapters, alone[1:], strict=True):
        if to_base > rounding and _distance(mixed, rows) < to_base / 4:
            raise EngineError(
                f"vLLM computes rows of the base model with {adapter.lora_path} when both are in a batch; "
                "leave engine.vllm.max_loras to its default, or use the engine transformers"
            )


def _first_tokens(core: Any, tokenizer: Any, policies: Sequence[Any]) -> list[dict[int, float]]:
    """For each probe, the probabilities of the first token under the first of ``policies``, in a batch of all."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    how: dict[str, Any] = {"temperature": 0.0, "max_tokens": 1, "logprobs": CHOICES}
    # A prompt from the cache would hide how it is computed.
    how |= {"output_kind": RequestOutputKind.FINAL_ONLY, "skip_reading_prefix_cache": True}
    for i, probe in enumerate(PROBES):
        ids = chat.encode(tokenizer, [{"role": "user", "content": probe}])
        for j, policy in enumerate(policies):
            params = SamplingParams(**how)
            core.add_request(f"probe {i} {j}", {"prompt_token_ids": ids}, params, lora_request=policy)
    done = {}
    while core.has_unfinished_requests():
        done.update({output.request_id: output.outputs[0] for output in core.step()})
    return [_probabilities(done[f"probe {i} 0"]) for i in range(len(PROBES))]


def _probabilities(answer: Any) -> dict[int, float]:
    import math

    return {token: math.exp(entry.logprob) for token, entry in answer.logprobs[0].items()}


def _distance(some: Sequence[dict[int, float]], others: Sequence[dict[int, float]]) -> float:
    """The largest difference of a token's probability, over all probes."""
    return max(
        abs(one.get(token, 0.0) - other.get(token, 0.0))
        for one, other in zip(some, others, strict=True)
        for token in one.keys() | other.keys()
    )
