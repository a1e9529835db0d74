"""Judges: what is asked about a completion, and how the answer is read. One file per judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from builder.chat import Message
from builder.statuses import RatingStatus, Reason, WimStatus


@dataclass(frozen=True)
class Reading:
    """What was read in one answer of a judge.

    ``wim`` is the text on what is missing ("" where nothing is), ``rating`` the number on the
    judge's scale. ``reason`` says why the text is unreadable or, where the text is fine, why the
    number is.
    """

    wim: str | None
    wim_status: WimStatus
    rating: float | None
    rating_status: RatingStatus
    reason: Reason | None


class Judge(Protocol):
    """A module of this folder holds a class ``Judge`` made from the rating scale (low, high)."""

    def __init__(self, scale: tuple[float, float]) -> None: ...

    def messages(self, prompt: Sequence[Message], completion: str) -> list[Message]:
        """The conversation that asks for a judgement of ``completion``."""
        ...

    def read(self, raw: str, finish_reason: str | None = None) -> Reading:
        """Read the judge's answer. Never raises: what cannot be read is said in the reading."""
        ...

    def pattern(self, max_tokens: int) -> str:
        """A regular expression of answers that ``read`` can read and that ``max_tokens`` cannot cut.

        Raises ParamsError if ``max_tokens`` is too small for a sentence.
        """
        ...

    def fills(self, text: str, max_tokens: int) -> bool:
        """Whether a text under the pattern is as long as it may be, and so perhaps broken off in mid-sentence."""
        ...
