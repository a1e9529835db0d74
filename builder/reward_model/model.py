"""A language model with a reward model's head: built, loaded, asked. torch is loaded with this file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from builder import tables
from builder.errors import EngineError
from builder.language import models
from builder.reward_model import stored
from builder.reward_model.head import Head, Rewards
from builder.reward_model.stored import Stored
from builder.reward_model.tokens import Tokens


def build(
    name: str, revision: str | None, dtype: str, aspects: int = 0, grades: int = 0, trust_remote_code: bool = False
) -> tuple[Any, Any]:
    """Tokenizer, and the base model as a sequence classification model whose ``score`` is a new ``Head``.

    The head computes in 32 bits, or in 64 if the base does. Raises EngineError as ``builder.language.models.load``.
    """
    tokenizer, model = models.load_scoring(name, revision, dtype, trust_remote_code)
    head = Head(model.score.in_features, aspects, grades)
    model.score = head.to(model.device, torch.float64 if dtype == "float64" else torch.float32)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model


def load(folder: Path, dtype: str, trust_remote_code: bool = False) -> tuple[Any, Any, Stored]:
    """Tokenizer, model and what is stored of it. Raises TableError or EngineError if it is none, or does not fit."""
    with models.lean():
        from peft import PeftModel
        from safetensors import SafetensorError

    kept = stored.read(folder)
    # New layers draw random numbers: without these a training that loads a model in its middle is another one.
    with torch.random.fork_rng():
        tokenizer, base = build(kept.model, kept.revision, dtype, len(kept.aspects), kept.grades, trust_remote_code)
        try:
            model = PeftModel.from_pretrained(base, str(folder))
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise EngineError(f"{folder}: does not fit its base model: {tables.first_line(error)}") from error
    return tokenizer, model.eval(), kept


def head(model: Any) -> Head:
    """Of a PEFT model: the copy of ``score`` that belongs to its adapter."""
    found: Head = model.get_base_model().score.modules_to_save[model.active_adapter]
    return found


def forward(model: Any, ids: torch.Tensor, mask: torch.Tensor, prompts: torch.Tensor) -> Rewards:
    """Rewards of rows of token ids, padded on the right. ``mask``: 1 where a token is; ``prompts``: their lengths.

    Not by the model's own forward, which takes the last token that is not the padding one for the end, and so misses
    an end of turn that is padding as well, and which keeps no state of the prompt.
    """
    base = model.get_base_model()
    hidden = getattr(base, base.base_model_prefix)(input_ids=ids, attention_mask=mask, use_cache=False)[0]
    rows = torch.arange(len(ids), device=ids.device)
    return head(model).rewards(hidden[rows, mask.sum(1) - 1], hidden[rows, prompts - 1])


@torch.inference_mode()
def of_tokens(model: Any, rows: Sequence[Tokens], batch_size: int) -> Rewards:
    """On the CPU, in the order of ``rows``, which are read in batches of similar length."""
    order = sorted(range(len(rows)), key=lambda row: len(rows[row].ids))
    parts = [
        forward(model, *padded([rows[row] for row in order[start : start + batch_size]], model.device))
        for start in range(0, len(order), batch_size)
    ]
    back = torch.tensor(order, dtype=torch.long).argsort()
    columns: Any = zip(*parts, strict=True)
    found = [None if column[0] is None else torch.cat(column).cpu()[back] for column in columns]
    return Rewards(*found)  # type: ignore[arg-type]


def padded(rows: Sequence[Tokens], device: Any = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, mask and the prompts' lengths; what fills a row up is never read."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.tensor([row.ids + [0] * (longest - len(row.ids)) for row in rows], device=device)
    lengths = torch.tensor([len(row.ids) for row in rows], device=device)
    mask = (torch.arange(longest, device=device) < lengths[:, None]).long()
    return ids, mask, torch.tensor([row.prompt for row in rows], device=device)
