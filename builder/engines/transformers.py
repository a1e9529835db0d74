"""The embedded engine: Hugging Face transformers in this process.

With float64 (the default) a row does not depend on the batch it is in: padding and batch shape
change logits by some 1e-13 only, while a flip of a sample needs a draw that close to an edge. In
float32 and bfloat16 such flips happen now and then.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from builder.engines import Completion, Request, Sampling
from builder.errors import EngineError
from builder.language import chat, models
from builder.language.policy import Policy
from builder.params import Params
from builder.statuses import Reason

if TYPE_CHECKING:
    import torch

Prepared = tuple[int, Request, list[int]]
WORTHWHILE = 32
"""From so many tokens on, a shared prefix is computed once."""
WINDOW = 512
"""So many requests are sorted by length at a time."""


def identity(params: Params) -> dict[str, Any]:
    """All settings but the batch's size: in float64 a row does not depend on it."""
    return {k: v for k, v in vars(params.engine.transformers).items() if k != "batch_size"}


class Engine:
    """One base model in memory; adapters are switched on and off per request."""

    def __init__(self, params: Params, policies: Sequence[Policy]) -> None:
        self.settings = params.engine.transformers
        (model, revision), *others = dict.fromkeys((policy.model, policy.revision) for policy in policies)
        if others:
            raise EngineError(f"one engine serves one base model: {model}, not also {others[0][0]}")
        self.tokenizer, loaded = models.load(model, revision, self.settings.dtype, self.settings.trust_remote_code)
        self.model: Any = loaded.eval()
        self.adapters: dict[Policy, str] = {}

    def generate(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        numbered = enumerate(requests)
        while window := list(itertools.islice(numbered, WINDOW)):
            yield from self._window(window)

    def _window(self, window: Sequence[tuple[int, Request]]) -> Iterator[tuple[int, Completion]]:
        """Batches of one policy and sampling, of similar length; what is too long is told at once."""
        groups: dict[tuple[Policy, Sampling], list[Prepared]] = {}
        for place, request in window:
            ids = chat.encode(self.tokenizer, request.messages)
            if len(ids) + request.sampling.max_tokens > models.context(self.model):
                yield place, Completion("", "length", 0, Reason.TOO_LONG)
                continue
            groups.setdefault((request.policy, request.sampling), []).append((place, request, ids))
        for (policy, sampling), rows in groups.items():
            rows.sort(key=lambda row: len(row[2]))
            self._switch_to(policy)
            for start in range(0, len(rows), self.settings.batch_size):
                batch = rows[start : start + self.settings.batch_size]
                texts = self._generate([ids for *_, ids in batch], [r.seed for _, r, _ in batch], sampling)
                yield from zip((place for place, *_ in batch), texts, strict=True)

    def _switch_to(self, policy: Policy) -> None:
        """Make the next generation the policy's: its adapter, or the base model without any."""
        if policy.adapter is None:
            if self.adapters:
                self.model.disable_adapters()
            return
        if policy not in self.adapters:
            name = f"adapter{len(self.adapters)}"
            models.add_adapter(self.model, policy.adapter, name)
            self.adapters[policy] = name
        self.model.enable_adapters()
        self.model.set_adapter(self.adapters[policy])

    def _generate(self, prompts: list[list[int]], seeds: list[int], sampling: Sampling) -> list[Completion]:
        import torch

        padding = self.tokenizer.pad_token_id
        padding = self.tokenizer.eos_token_id if padding is None else padding
        longest = max(map(len, prompts))
        # Padding stands between what the prompts share (a judge's template, say) and what they do not.
        shared = shared_prefix(prompts)
        gaps = [longest - len(prompt) for prompt in prompts]
        rows = [p[:shared] + [padding] * gap + p[shared:] for p, gap in zip(prompts, gaps, strict=True)]
        masks = [[1] * shared + [0] * gap + [1] * (longest - shared - gap) for gap in gaps]
        how = _how(sampling, seeds, longest, self.tokenizer)
        with torch.inference_mode():
            if shared >= WORTHWHILE and sampling.contrastive is None:
                how["past_key_values"] = self._prefilled(prompts[0][:shared], len(prompts))
            out = self.model.generate(
                input_ids=torch.tensor(rows, device=self.model.device),
                attention_mask=torch.tensor(masks, device=self.model.device),
                max_new_tokens=sampling.max_tokens,
                pad_token_id=padding,
                **how,
            )
        return [
            self._completion(row[longest:].tolist(), sampling, len(prompt))
            for row, prompt in zip(out, prompts, strict=True)
        ]

    def _prefilled(self, prefix: list[int], rows: int) -> Any:
        """The key-value cache of a prefix, computed once for all rows."""
        import torch

        ids = torch.tensor([prefix], device=self.model.device)
        cache = self.model(ids, use_cache=True, logits_to_keep=1).past_key_values
        cache.batch_repeat_interleave(rows)
        return cache

    def _completion(self, ids: list[int], sampling: Sampling, read: int) -> Completion:
        ends = self.model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        length = next((i for i, token in enumerate(ids) if token in ends), None)
        finish = "length" if length is None else "stop"
        tokens = ids[:length]
        while length is None and tokens and tokens[-1] == self.tokenizer.pad_token_id:
            tokens.pop()  # a row that ended at a stop text is filled up to its batch's longest
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        for stop in sampling.stop:
            if stop in text:
                text, finish = text.split(stop)[0], "stop"
        return Completion(text, finish, len(tokens), prompt_tokens=read)


def shared_prefix(prompts: list[list[int]]) -> int:
    """How many first tokens all prompts share; at least one token of each is left."""
    first, last = min(prompts), max(prompts)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return min(length, min(map(len, prompts)) - 1)


def _how(sampling: Sampling, seeds: list[int], longest: int, tokenizer: Any) -> dict[str, Any]:
    """Arguments of ``generate``. Sampling is greedy over scores in which the draw is already made."""
    if sampling.pattern is not None:
        raise EngineError("the engine transformers has no structured output; set judge.structured to false")
    # An explicit 1 keeps a model's own generation_config from adding a penalty or a cut of its own.
    how: dict[str, Any] = {"do_sample": False, "repetition_penalty": 1.0, "num_beams": 1}
    if sampling.contrastive is not None:
        from builder.engines._contrastive import search

        how |= {"custom_generate": search, "cs_alpha": sampling.contrastive.alpha, "cs_k": sampling.contrastive.k}
    elif sampling.temperature > 0:
        how["logits_processor"] = [_SeededDraw(sampling, seeds, longest)]
    if sampling.stop:
        how |= {"stop_strings": list(sampling.stop), "tokenizer": tokenizer}
    return how


class _SeededDraw:
    """Leaves one token a row: the one at the row's own uniform number in the cumulative distribution."""

    def __init__(self, sampling: Sampling, seeds: list[int], longest: int) -> None:
        import torch

        self.sampling, self.longest = sampling, longest
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        shape = (sampling.max_tokens,)
        self.uniform = torch.stack([torch.rand(shape, generator=draw, dtype=torch.float64) for draw in draws])

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        import torch

        probabilities = torch.softmax(scores.double() / self.sampling.temperature, -1)
        ordered, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
        cumulative = ordered.cumsum(-1)
        # Nucleus: the smallest head whose mass reaches top_p; the draw is scaled to its mass.
        head = (cumulative < self.sampling.top_p - 1e-12).sum(-1, keepdim=True).clamp_max(ordered.shape[-1] - 1)
        uniform = self.uniform[:, input_ids.shape[1] - self.longest].to(scores.device)[:, None]
        place = torch.searchsorted(cumulative, uniform * cumulative.gather(-1, head), right=True)
        chosen = tokens.gather(-1, torch.minimum(place, head))
        return torch.full_like(scores, float("-inf")).scatter_(-1, chosen, 0.0)
