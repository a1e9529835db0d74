"""What one record says of its completion: a text, a number, or a judge's words that are still to be read."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from builder import records
from builder.judges import Judge, Reading
from builder.params import Params
from builder.records import FieldError
from builder.statuses import RatingStatus, Reason, WimStatus


class Said(NamedTuple):
    """A judgement as its record gives it: equal ones are duplicates.

    Its parts are columns of the feedback table, but for ``unread``, the JSON of a rating that cannot be read.
    """

    judge: str
    raw: str | None
    rating: float | None
    rating_status: RatingStatus
    wim: str | None
    wim_status: WimStatus
    reason: Reason | None
    scale_min: float | None
    scale_max: float | None
    unread: str | None

    def columns(self) -> tuple[Any, ...]:
        """As they stand in the feedback table, from ``raw`` on."""
        return self[1:-1]


def judgement_in(fields: Mapping[str, Any], params: Params, judge: Callable[[tuple[float, float]], Judge]) -> Said:
    """The judgement of a record; ``judge`` reads what is raw, on a scale. Raises FieldError for a field that is bad."""
    raw, feedback = records.text(fields, "raw"), records.text(fields, "feedback")
    low, high = _bound(fields, "rating_min"), _bound(fields, "rating_max")
    scale = _scale(low, high, params)
    read = judge(scale).read(raw) if raw is not None else None
    wim, status, reason = _text(feedback, read)
    rating = fields.get("rating")
    number, number_status, number_reason = _number(rating, scale, read)
    unread = records.json_text("rating", rating) if rating is not None and number is None else None
    name = _judge_name(fields)
    return Said(name, raw, number, number_status, wim, status, reason or number_reason, low, high, unread)


def _bound(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        raise FieldError(name, "must be a finite number")
    return float(value)


def _scale(own_low: float | None, own_high: float | None, params: Params) -> tuple[float, float]:
    low = params.rating.scale[0] if own_low is None else own_low
    high = params.rating.scale[1] if own_high is None else own_high
    if not low < high:
        raise FieldError("rating_min", f"must be below rating_max: {low:g} and {high:g}")
    return low, high


def _judge_name(fields: Mapping[str, Any]) -> str:
    name = (records.text(fields, "judge") or "").strip() or "judge"
    sample = fields.get("sample")
    if sample is None:
        return name
    # A column of whole numbers with gaps is one of floats in CSV and Parquet.
    if isinstance(sample, bool) or not isinstance(sample, (int, float)) or sample % 1 != 0:
        raise FieldError("sample", "must be a whole number")
    return f"{name}#{int(sample)}"


def _text(feedback: str | None, read: Reading | None) -> tuple[str | None, WimStatus, Reason | None]:
    """The record's own feedback; without it what was read in ``raw``."""
    if feedback is not None:
        wim = feedback if feedback.strip() else ""
        return wim, WimStatus.MISSING if wim else WimStatus.NOTHING, None
    if read is not None:
        return read.wim, read.wim_status, read.reason if read.wim_status == WimStatus.UNREADABLE else None
    return None, WimStatus.ABSENT, None


def _number(
    rating: Any, scale: tuple[float, float], read: Reading | None
) -> tuple[float | None, RatingStatus, Reason | None]:
    """The record's own rating; without it what was read in ``raw``."""
    if rating is None:
        if read is None:
            return None, RatingStatus.ABSENT, None
        return read.rating, read.rating_status, None if read.rating_status == RatingStatus.OK else read.reason
    if isinstance(rating, bool) or not isinstance(rating, (int, float)) or rating != rating:
        return None, RatingStatus.UNREADABLE, Reason.NOT_A_NUMBER
    if not scale[0] <= rating <= scale[1]:
        return None, RatingStatus.UNREADABLE, Reason.OUT_OF_SCALE
    return float(rating), RatingStatus.OK, None
