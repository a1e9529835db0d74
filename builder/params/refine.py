"""Typed parameters of what learns from the feedback's text: `wim refine` and `wim sft`."""

from dataclasses import dataclass
from typing import Literal

from builder.params.blocks import require


@dataclass(frozen=True)
class Refine:
    """Which completions are written again, and how.

    ``which``: all in which something is missing, or of each prompt the ``limit`` of the lowest reward (``worst``) or of
    the highest (``best``). ``judge``: whose text is taken up (null: each judge's, by a rewriting of its own). ``n``
    rewritings for each text. Temperature 0 is greedy.
    """

    which: Literal["all", "worst", "best"] = "all"
    limit: int = 1
    judge: str | None = None
    n: int = 1
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(self.limit >= 1, "refine.limit", "at least 1", self.limit)
        require(self.limit == 1 or self.which != "all", "refine.limit", "1 where refine.which is all", self.limit)
        require(1 <= self.n <= 1000, "refine.n", "between 1 and 1000", self.n)
        require(0 <= self.temperature < 100, "refine.temperature", "at least 0 and below 100", self.temperature)
        drawn = self.n == 1 or self.temperature > 0
        require(drawn, "refine.temperature", "above 0 where refine.n is above 1", self.temperature)
        require(0 < self.top_p <= 1, "refine.top_p", "above 0 and at most 1", self.top_p)
        require(self.max_tokens >= 1, "refine.max_tokens", "at least 1", self.max_tokens)


@dataclass(frozen=True)
class Sft:
    """What is imitated: ``imitation``, of each prompt the best refinement; ``hindsight``, chains of answers.

    ``by``: the best refinement is that of the highest reward, or the one nearest to the feedback that it takes up.
    """

    form: Literal["imitation", "hindsight"] = "imitation"
    by: Literal["reward", "similarity"] = "reward"

    def __post_init__(self) -> None:
        read = self.form == "imitation" or self.by == "reward"
        require(read, "sft.by", "left as it is for the form hindsight, which takes pairs", self.by)
