"""Judges: what is asked about a completion, or about two, and how the answer is read. One file per judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from builder.language.chat import Message
from builder.params import Judge as Settings
from builder.statuses import RatingStatus, Reason, WimStatus

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = [
    "DEFAULT",
    "Judge",
    "PairJudge",
    "Reading",
    "Settings",
    "can_structure",
    "compares",
    "has_aspects",
    "has_text",
]

DEFAULT = Settings()


@dataclass(frozen=True)
class Reading:
    """What was read in one answer of a judge.

    ``wim`` is the text on what is missing ("" where nothing is), ``rating`` the number on the
    judge's scale. ``reason`` says why the text is unreadable or, where the text is fine, why the
    number is. ``aspects``: the numbers of which ``rating`` was made, each on its own scale, null if unreadable.
    """

    wim: str | None
    wim_status: WimStatus
    rating: float | None
    rating_status: RatingStatus
    reason: Reason | None
    aspects: Mapping[str, float | None] | None = None


class Judge(Protocol):
    """A module of this folder holds a class ``Judge`` made from the rating scale (low, high) and the block ``judge``.

    Raises ParamsError for settings that it cannot follow. ``pattern`` and ``fills`` are for ``judge.structured``; a
    judge without them is asked in free text.
    """

    def __init__(self, scale: tuple[float, float], settings: Settings = ...) -> None: ...

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


class PairJudge(Protocol):
    """A class ``Judge`` with ``compares = True`` judges two completions at a time.

    Its grades are whole numbers from -``most`` (the second is much better) to ``most`` (the first is).
    """

    compares: bool
    most: int

    def __init__(self, scale: tuple[float, float], settings: Settings = ...) -> None: ...

    def messages(self, prompt: Sequence[Message], first: str, second: str) -> list[Message]:
        """The conversation that asks which of two completions is better."""
        ...

    def read(self, raw: str, finish_reason: str | None = None) -> tuple[int | None, Reason | None]:
        """The grade in favour of the first, or why there is none. Never raises."""
        ...

    def pattern(self, max_tokens: int) -> str:
        """As ``Judge.pattern``."""
        ...


def compares(judge: Judge | PairJudge) -> "TypeIs[PairJudge]":
    """Whether a judge looks at two completions at a time."""
    return bool(getattr(judge, "compares", False))


def can_structure(judge: Judge | PairJudge) -> bool:
    """Whether a judge's answers can be held to a pattern."""
    return hasattr(judge, "pattern") and (compares(judge) or hasattr(judge, "fills"))


def has_aspects(judge: Judge | PairJudge) -> bool:
    """Whether a judge's readings hold ``aspects``: a class says so by ``aspects = True``."""
    return bool(getattr(judge, "aspects", False))


def has_text(judge: Judge | PairJudge) -> bool:
    """Whether a judge says what is missing: one that need not tells it by ``missing = False``."""
    return not compares(judge) and bool(getattr(judge, "missing", True))
