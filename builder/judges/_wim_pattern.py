"""An answer in brackets as a regular expression, for engines that can hold a model to one.

What matches can be read: it has a number of the scale and a text that is no placeholder. And it fits: a token
stands for at least one byte of UTF-8, so that so many bytes are at most so many tokens.

The expression keeps to what grammar compilers are fast with: no look-ahead, and repetition of single classes.
"""

import math
import re
from collections.abc import Collection, Mapping

from builder.errors import ParamsError
from builder.judges._brackets import PLACEHOLDERS

_ASCII = r" -Z\\^-~"
_LATIN = _ASCII + "\u00a1-\u07ff"
_ANY = _LATIN + "\u0800-\ud7ff\ue000-\U0010ffff"
_CLASSES = ((1, _ASCII), (2, _LATIN), (4, _ANY))
"""Characters by their bytes at most: none is a bracket, a control character or the end of a line."""

_EDGE = " .!\"'*_<>{}()"
"""What the reader takes off a text before it looks whether that is a placeholder."""

_OUT = "\\x00-\x1f\x7f-\xa0\\[\\]\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000" + "ſßẞ"
"""Never where a placeholder may end: brackets, control characters, blanks, and letters that fold to s and ss."""

_LEAST = 100
"""Characters that a text may have at least: a sentence on what is missing."""

_BLANKS = 2
"""How many characters of ``_EDGE`` may stand between a placeholder's words and what makes more of them."""


Scales = Mapping[str, tuple[float, float]]
"""The lines of numbers: label, and the scale from low to high."""


def pattern(scales: Scales, max_tokens: int, text: bool = True) -> str:
    """The answer, with or without the text. Raises ParamsError if ``max_tokens`` cannot hold it.

    The text has room for so many ASCII characters, half as many up to U+07FF, or a quarter as many of any kind.
    """
    room = _room(scales, max_tokens, text)
    numbers = [(label, "|".join(map(re.escape, _numbers(*scale)))) for label, scale in scales.items()]
    lines = [rf"{re.escape(label)}: \[\[(?:{number})\]\]" for label, number in numbers]
    if text:
        more = "|".join(f"[{characters}]{{0,{room // size}}}" for size, characters in _CLASSES)
        begun, short = map("|".join, _beginnings(PLACEHOLDERS))
        lines.append(rf"WIM: \[\[\[(?:(?:{begun})(?:{more})|{short})?\]\]\]")
    return r"\n".join(lines)


def fills(text: str, scales: Scales, max_tokens: int) -> bool:
    """Whether a text is about as long as the pattern lets it be: it may have been broken off in mid-sentence."""
    room = _room(scales, max_tokens, True)
    (most,) = [room // size for size, characters in _CLASSES if re.fullmatch(f"[{characters}]*", text)][:1] or [0]
    return len(text) > most


def _room(scales: Scales, max_tokens: int, text: bool) -> int:
    """Bytes for the text, after a beginning that cannot become a placeholder."""
    lines = [len(f"{label}: [[]]\n".encode()) + max(map(len, _numbers(*scale))) for label, scale in scales.items()]
    frame = sum(lines) + 1  # and the token that ends the turn
    if text:
        frame += len("WIM: [[[]]]") + max(map(len, PLACEHOLDERS)) + _BLANKS + 4
    least = frame + _LEAST * text
    if max_tokens < least:
        told = "at one token for each byte there has to be room for " + ("a sentence" if text else "the numbers")
        raise ParamsError(f"judge.max_tokens must be at least {least} if structured, not {max_tokens}: {told}")
    return max_tokens - frame


def _numbers(low: float, high: float) -> list[str]:
    """Numbers of the scale: whole ones, or from 4 to 40 where the scale is narrow or very wide."""
    exponent = 0 if 4 <= high - low <= 1000 else math.floor(math.log10((high - low) / 4))
    step = 10.0**exponent
    places = range(math.floor(low / step), math.ceil(high / step) + 1)
    texts = [f"{place * step:.{max(0, -exponent)}f}" for place in places]
    return [text for text in texts if low <= float(text) <= high]


def _beginnings(placeholders: Collection[str]) -> tuple[list[str], list[str]]:
    """Texts that differ from all placeholders: expressions of how they begin, and of those that are no longer.

    A text leaves the tree of the placeholders at some character, or it ends inside. Where a placeholder ends, only
    a character that the reader does not take off leaves it.
    """
    tree = sorted({text[:end] for text in placeholders for end in range(len(text) + 1)})
    begun, short = list[str](), list[str]()
    for text in tree:
        stays = {longer[-1] for longer in tree if longer and longer[:-1] in (text, f"{text} ")}
        if not text:
            begun.append(_except(stays | set(_EDGE + "…")))
        elif text.strip(_EDGE) in placeholders:
            begun.append(f"{_folded(text)}[{_EDGE}]{{0,{_BLANKS}}}{_except(stays | set(_EDGE))}")
        else:
            begun.append(_folded(text) + _except(stays))
            short.append(_folded(text))
    return begun, short


def _folded(text: str) -> str:
    """Matches ``text`` in any case."""
    return "".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in text)


def _except(characters: Collection[str]) -> str:
    """Any character of a text but these."""
    cased = {c for character in characters for c in (character, character.upper())}
    return f"[^{_OUT}{''.join(sorted(cased))}]"
