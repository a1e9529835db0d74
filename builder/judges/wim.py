"""The What-Is-Missing judge: a number in double brackets, what is missing in triple brackets.

The answer format is the paper's; the words of the template are ours. Unlike the paper's, it does not tell the judge
to assume that the answer is correct, unless ``judge.wording`` is ``assume_correct``.
"""

from collections.abc import Sequence

from builder.judges import DEFAULT, Reading, Settings, _asking, _brackets, _wim_pattern
from builder.judges._wordings import SYSTEM, WORDINGS
from builder.language.chat import Message
from builder.params.blocks import check_keys
from builder.statuses import RatingStatus, Reason, WimStatus


class Judge:
    """Asks for a rating within ``scale`` and for the missing content."""

    def __init__(self, scale: tuple[float, float], settings: Settings = DEFAULT) -> None:
        check_keys({settings.wording: None}, list(WORDINGS), "judge.wording: ")
        self.low, self.high = scale
        ends = {"low": f"{self.low:g}", "high": f"{self.high:g}"}
        self.system = SYSTEM.format(wording=WORDINGS[settings.wording], **ends)
        self.reader = _brackets.Reader(["rating"], *scale)

    def messages(self, prompt: Sequence[Message], completion: str) -> list[Message]:
        return _asking.question(self.system, prompt, completion)

    def read(self, raw: str, finish_reason: str | None = None) -> Reading:
        if not raw.strip():
            return Reading(None, WimStatus.UNREADABLE, None, RatingStatus.UNREADABLE, Reason.EMPTY_OUTPUT)
        (wim, wim_reason), rest = self.reader.text(raw, finish_reason)
        rating, rating_reason = self.reader.numbers(rest, finish_reason)["rating"]
        status = WimStatus.UNREADABLE if wim is None else WimStatus.MISSING if wim else WimStatus.NOTHING
        rating_status = RatingStatus.UNREADABLE if rating is None else RatingStatus.OK
        return Reading(wim, status, rating, rating_status, wim_reason or rating_reason)

    def pattern(self, max_tokens: int) -> str:
        return _wim_pattern.pattern({"Rating": (self.low, self.high)}, max_tokens)

    def fills(self, text: str, max_tokens: int) -> bool:
        return _wim_pattern.fills(text, {"Rating": (self.low, self.high)}, max_tokens)
