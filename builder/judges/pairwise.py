"""Two completions at a time: A, B or, unless ``judge.compare.tie`` is false, a tie."""

from collections.abc import Sequence

from builder.judges import DEFAULT, Settings
from builder.judging import pairwise
from builder.language.chat import Message
from builder.params import Compare
from builder.statuses import Reason


class Judge:
    """The verdicts are the grades 1, 0 and -1."""

    compares = True

    def __init__(self, scale: tuple[float, float], settings: Settings = DEFAULT) -> None:
        del scale  # a rating is the share of comparisons won
        self.compare = settings.compare or Compare()
        self.most = self.steps()
        self.words = pairwise.verdicts(self.most, self.compare.tie)

    def steps(self) -> int:
        """The highest grade."""
        return 1

    def messages(self, prompt: Sequence[Message], first: str, second: str) -> list[Message]:
        return pairwise.messages(prompt, first, second, self.words)

    def read(self, raw: str, finish_reason: str | None = None) -> tuple[int | None, Reason | None]:
        return pairwise.graded(raw, self.words, finish_reason)

    def pattern(self, max_tokens: int) -> str:
        return pairwise.pattern(self.words, max_tokens)
