"""How likely texts are as the next turn of a conversation, under the base model of the parameters.

A conversation is read once, by itself, and then all texts behind it in one batch, which is the same batch whatever else
is worked out: so a row depends on no other, in any precision. Rows are kept under .wim/rate.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builder import rows
from builder.engines import transformers
from builder.errors import EngineError
from builder.generate import PART, PART_SECONDS
from builder.ids import canonical_json, digest
from builder.language import chat, models, policy
from builder.language.chat import Message
from builder.params import Params

VERSION = 2
"""Raised when this code makes another number of the same row and settings: rows from before then count no more."""

Conversation = Sequence[Message]


def identity(params: Params) -> dict[str, Any]:
    """What tells two models and their precision apart."""
    by = policy.base(params.model)
    return {"engine": "transformers", "settings": transformers.identity(params), "policy": by.about()}


def next_turns(
    conversations: Iterable[Conversation], total: int, texts: Sequence[str], params: Params
) -> NDArray[np.float64]:
    """Natural log-probabilities [``total`` conversations, texts] of ``texts`` as what the user says next.

    Each is the sum over the text's own tokens; the end of the turn is none of them, so a text may also be the opening
    of a longer one. NaN where a conversation is too long for the model. The model is loaded if a row is missing.
    Raises EngineError for another engine than transformers, and where the model or its chat template will not do.
    """
    if params.engine.name != "transformers":
        told = f"only transformers tells how likely a given text is, and engine.name is {params.engine.name}"
        raise EngineError(f"{told}: add --set engine.name=transformers, which loads model.name in this process")
    keyed = ((digest(canonical_json(conversation)), conversation) for conversation in conversations)
    settings = identity(params) | {"texts": list(texts), "version": VERSION}
    done = rows.compute("rate", settings, keyed, Scorer(texts, params).parts, "rate", total)
    unknown = [np.nan] * len(texts)
    found = [row or unknown for block in done.blocks() for row in block["log_probs"].to_pylist()]
    return np.array(found, np.float64).reshape(-1, len(texts))


class Scorer:
    """Works log-probabilities out, one conversation after the other. The model is loaded at the first."""

    def __init__(self, texts: Sequence[str], params: Params) -> None:
        self.texts, self.params = texts, params
        self.tokenizer: Any = None
        self.model: Any = None

    def parts(self, conversations: Iterator[Conversation], done: rows.Done) -> Iterator[rows.Batch]:
        """Finished rows in parts that are worth a file."""
        held: list[list[float] | None] = []
        first, since = 0, time.monotonic()
        for place, conversation in enumerate(conversations):
            held.append(self(conversation))
            done(1, 0)
            if len(held) >= PART or time.monotonic() - since >= PART_SECONDS:
                yield range(first, place + 1), _table(held)
                held, first, since = [], place + 1, time.monotonic()
        if held:
            yield range(first, first + len(held)), _table(held)

    def __call__(self, conversation: Conversation) -> list[float] | None:
        """The log-probability of each text; None if the model cannot read so much."""
        self._load()
        # Text of the data gives no control token, and so no turn of its own.
        turns = [[*conversation, Message(role="user", content=text)] for text in self.texts]
        encoded = [chat.encode_turn(self.tokenizer, turn) for turn in turns]
        if max(len(before) + len(ids) for before, ids in encoded) > models.context(self.model):
            return None
        # Not all of what stands before: a tokenizer may take its last blank into the first word.
        shared = transformers.shared_prefix([before for before, _ in encoded])
        endings = [before[shared:] + ids for before, ids in encoded]
        return self._sums(encoded[0][0][:shared], endings, [len(ids) for _, ids in encoded])

    def _load(self) -> None:
        if self.model is None:
            model, settings = self.params.model, self.params.engine.transformers
            loaded = models.load(model.name, model.revision, settings.dtype, settings.trust_remote_code)
            self.tokenizer, self.model = loaded[0], loaded[1].eval()

    def _sums(self, shared: list[int], endings: list[list[int]], counted: list[int]) -> list[float]:
        """Of each ending behind the tokens that all share the sum over so many of its last tokens."""
        import torch

        longest = max(map(len, endings))
        # Nothing looks ahead: what stands behind a text, to fill its row up, does not change it.
        filled = [ids + ids[-1:] * (longest - len(ids)) for ids in endings]
        with torch.inference_mode():
            ids = torch.tensor(filled, device=self.model.device)
            prefix = torch.tensor([shared], device=self.model.device)
            read = self.model(prefix, use_cache=True, logits_to_keep=1)
            read.past_key_values.batch_repeat_interleave(len(endings))
            behind = self.model(ids, past_key_values=read.past_key_values).logits
            logits = torch.cat([read.logits.expand(len(endings), -1, -1), behind[:, :-1]], dim=1)
            found = logits.double().log_softmax(-1).gather(-1, ids[..., None])[..., 0].tolist()
        places = ((len(ending) - count, len(ending)) for ending, count in zip(endings, counted, strict=True))
        return [math.fsum(row[start:end]) for row, (start, end) in zip(found, places, strict=True)]


def _table(held: Sequence[list[float] | None]) -> pa.Table:
    return pa.table({"log_probs": pa.array(held, pa.list_(pa.float64()))})
