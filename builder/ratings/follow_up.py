"""Follow-up likelihood: would the user thank for this completion, or ask "What about ...?" - as a model expects it.

The logarithm of the odds that the user's next turn after prompt and completion opens with one of a few follow-ups that
a good answer gets, and not with one of those that a bad one gets, under the base model of the parameters.

After Zhang et al., "Aligning Language Models Using Follow-up Likelihood as Reward Signal" (AAAI 2025,
arXiv:2409.13948). Theirs: the idea, a chat model asked for the user's turn, positive and negative follow-ups (in the
code that they published whole sentences, ten each on whether the answer is understood, relevant, correct, engaging,
informative and as instructed). They report agreement like that of trained reward models, with chat models such as
Llama-3-8B-Instruct. Ours: openings in place of sentences, and most of them of what is left out; probabilities that add
up, where their code averages logits. "What about" is likely wherever some such question is, and the words that would
follow mostly add noise; so does, in a mean of logarithms, what nobody says. A model that knows no such talk, as the
demo's, has nothing to tell.
"""

import numpy as np
import polars as pl

from builder.judgements import is_empty
from builder.language import likelihood
from builder.params import Params
from builder.ratings import Vectors
from builder.statuses import Reason

CONTENT = ("Thank you", "Thanks", "Perfect", "Great", "That is all")
DISCONTENT = ("What about", "And what about", "You left out", "You did not", "I asked")


class Rating:
    """In nats, above or below 0: of use between completions of a prompt only. Null where it is too long."""

    uses = frozenset({"prompt", "completion", "engine"})
    together = True
    null_reason = Reason.TOO_LONG

    def __init__(self, params: Params) -> None:
        self.params = params

    def texts(self, judgements: pl.DataFrame) -> list[pl.Series]:
        del judgements
        return []

    def rate(self, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
        """Raises EngineError for another engine than transformers."""
        del vectors
        able = judgements.filter(pl.col("prompt").is_not_null() & ~is_empty(pl.col("text")))
        able = able.unique(["prompt_id", "text"], keep="first", maintain_order=True)
        told = able.select("messages", "text").iter_rows()
        conversations = ([*messages, {"role": "assistant", "content": text}] for messages, text in told)
        found = likelihood.next_turns(conversations, len(able), [*CONTENT, *DISCONTENT], self.params)
        content, discontent = np.split(found, [len(CONTENT)], axis=1)
        with np.errstate(invalid="ignore"):  # NaN for what is too long
            odds = np.logaddexp.reduce(content, axis=1) - np.logaddexp.reduce(discontent, axis=1)
        rated = able.select("prompt_id", "text", follow_up=pl.Series(odds).fill_nan(None))
        joined = judgements.join(rated, on=["prompt_id", "text"], how="left", maintain_order="left")
        return joined["follow_up"]

    def about(self) -> dict[str, object]:
        """Which model was asked, for the table's metadata."""
        return likelihood.identity(self.params)
