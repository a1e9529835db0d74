"""The pattern of the WIM judge's answers: all that matches can be read, and fits."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import ParamsError
from builder.judges._brackets import NOTHING, PLACEHOLDERS
from builder.judges.wim import Judge
from builder.statuses import RatingStatus, WimStatus

SCALES = [(1.0, 10.0), (0.0, 1.0), (-2.5, 3.5), (0.0, 1e6), (0.1, 0.15)]


def answer(text: str) -> str:
    return f"Rating: [[7]]\nWIM: [[[{text}]]]"


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("max_tokens", [160, 256])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_what_matches_can_be_read_and_fits(data: st.DataObject, scale: tuple[float, float], max_tokens: int) -> None:
    judge = Judge(scale)
    raw = data.draw(st.from_regex(judge.pattern(max_tokens), fullmatch=True))
    reading = judge.read(raw, "stop")
    assert reading.reason is None
    assert reading.rating is not None
    assert scale[0] <= reading.rating <= scale[1]
    assert len(raw.encode()) < max_tokens  # a token for each byte, and one that ends the turn


def test_what_is_near_a_placeholder_matches_only_if_it_can_be_read() -> None:
    judge, draw = Judge((1, 10)), random.Random(0)
    pattern = re.compile(judge.pattern(256))
    pieces = [*PLACEHOLDERS, *" .!\"'*_<>{}()…", "a", "x", "t", "i", "ß", "ſ", "s", "\u200b", "\u2003", "é", "I"]
    for _ in range(20_000):
        text = "".join(draw.choice(pieces) for _ in range(draw.randint(0, 4)))
        text = draw.choice([str, str.upper, str.title])(text)
        if pattern.fullmatch(answer(text)):
            assert judge.read(answer(text), "stop").reason is None, text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The answer leaves out its diet and size.",
        "Missing: the diet.",
        "What is missing is the diet.",
        "Text of the law",
        "diet",
        "Es fehlt die Größe.",
        "缺少饮食。",
        *sorted(NOTHING),
    ],
)
def test_ordinary_texts_match(text: str) -> None:
    judge = Judge((1, 10))
    assert re.fullmatch(judge.pattern(256), answer(text))
    status = judge.read(answer(text), "stop").wim_status
    assert status == (WimStatus.NOTHING if text in ("", *NOTHING) else WimStatus.MISSING)


@pytest.mark.parametrize("scale", SCALES)
def test_the_ends_of_the_scale_can_be_said(scale: tuple[float, float]) -> None:
    judge = Judge(scale)
    said = re.search(r"\(\?:(.*?)\)", judge.pattern(256))
    assert said
    numbers = [float(number.replace("\\", "")) for number in said[1].split("|")]
    assert len(numbers) >= 4
    assert all(judge.read(f"Rating: [[{n}]]\nWIM: [[[]]]", "stop").rating_status == RatingStatus.OK for n in numbers)


def test_too_few_tokens_for_the_format_are_an_error() -> None:
    with pytest.raises(ParamsError, match=r"judge\.max_tokens must be at least 148 if structured, not 147"):
        Judge((1, 10)).pattern(147)
    assert Judge((1, 10)).pattern(148)


@pytest.mark.parametrize(
    ("text", "fills"), [("a" * 108, False), ("a" * 122, True), ("é" * 60, True), ("é" * 40, False)]
)
def test_a_text_as_long_as_it_may_be_is_found(text: str, fills: bool) -> None:
    assert Judge((1.0, 10.0)).fills(text, 160) is fills
