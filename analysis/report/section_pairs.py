"""The report's pairs: a sample to search, to filter and to open, as JSON for pairs.js, and the form for it."""

import bisect
import html
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis import page
from analysis.report.drawn import LARGEST, RANDOM, REST, SMALLEST, THEME, TIE, WHY, Drawn
from analysis.report.level import level
from analysis.report.summary import count
from analysis.report.themed import Themed
from analysis.report.told import UNKNOWN, Judgement, Shown, Side
from builder import refined
from builder.statuses import WimStatus

MODULE = Path(__file__).with_name("pairs.js")
SHORTEST = 200
"""Bytes that every text may have, however many there are."""
STATUSES = {
    WimStatus.MISSING: "says what is missing",
    WimStatus.NOTHING: "says that nothing is missing",
    WimStatus.UNREADABLE: "unreadable",
    WimStatus.ABSENT: "no feedback",
}
HOW = {
    LARGEST: "with the largest deltas of their run",
    SMALLEST: "with the smallest",
    THEME: "drawn theme by theme",
    RANDOM: "at random",
    REST: "that are all the others of their run",
    TIE: "ties",
}
SAID = {"agrees": "agrees", "ties": "ties them", "opposite": "says the opposite"}
ORDERS = {"largest": "largest delta first", "smallest": "smallest delta first", "drawn": "by run"}

SEARCH = "Search in prompts, completions and feedback"
COLUMNS = (
    '<p class="columns" aria-hidden="true"><span></span><span>Delta</span><span class="scores">Scores</span>'
    "<span>Prompt</span></p>"
)
NO_SCRIPT = "The pairs are listed by the script in this file; `wim explain RUN` shows one on the screen."


def section(drawn: Sequence[Drawn], shown: Sequence[Shown], themed: Sequence[Themed], how: str, room: int) -> str:
    """The browser of pairs in about ``room`` bytes; "" where there is none. ``how`` near parts were found, in words."""
    if not shown:
        return ""
    about = {
        "runs": [_about(each) for each in drawn],
        "themes": [theme.name for each in themed for theme in each.themes.themes],
        "why": WHY,
        "status": {**{str(status): words for status, words in STATUSES.items()}, UNKNOWN: "not in the run"},
    }
    block, most = _fitted(about, shown, room)
    cut = sum(_size(text) > most for pair in shown for text in _texts(pair))
    note = f"{_sample(drawn, shown)} All numbers and charts of this page are over all pairs, not over these."
    if cut:
        note += f" {count(cut, 'text')} longer than {most:,} bytes {'is' if cut == 1 else 'are'} cut."
    return page.section("Pairs", note, _form(drawn, themed, how), block)


def _fitted(about: Mapping[str, Any], shown: Sequence[Shown], room: int) -> tuple[str, int]:
    """The JSON in ``room`` bytes, and how many its longest text may take; texts keep ``SHORTEST`` at least."""
    sizes = [_size(text) for pair in shown for text in _texts(pair)]
    for_texts = room
    while True:
        most = max(level(sizes, for_texts), SHORTEST)
        block = page.data({**about, "pairs": [_pair(pair, most) for pair in shown]}, "pairs-data")
        over = len(block.encode()) - room
        if over <= 0 or most == SHORTEST:
            return block, most
        for_texts = min(for_texts, sum(min(size, most) for size in sizes)) - over


def _sample(drawn: Sequence[Drawn], shown: Sequence[Shown]) -> str:
    total, ties = sum(each.total for each in drawn), sum(each.ties for each in drawn)
    pairs = sum(pair.id is not None for pair in shown)
    there = f"{count(total, 'pair')} and {count(ties, 'tie')}" if ties else count(total, "pair")
    if len(shown) == total + ties:
        return f"All {there}."
    held = f"{pairs:,} of {count(total, 'pair')}"
    held += f" and {len(shown) - pairs:,} of {count(ties, 'tie')}" if ties else ""
    why = Counter(pair.why for pair in shown)
    parts = ", ".join(f"{why[name]:,} {words}" for name, words in HOW.items() if why[name])
    return f"{held}: {parts}."


def _about(drawn: Drawn) -> dict[str, Any]:
    return {"label": drawn.run.label, "method": drawn.run.settings("pairs").get("method")}


def _texts(pair: Shown) -> list[str]:
    said = [judged.text for side in pair.sides for judged in side.judged]
    said += [side.refined["refined_feedback"] for side in pair.sides if side.refined]
    prompt = [message["content"] for message in pair.prompt]
    return [text for text in (*prompt, *(side.text for side in pair.sides), *said) if text]


def _size(text: str) -> int:
    """Bytes in the page."""
    return len(json.dumps(text, ensure_ascii=False).replace("<", "\\u003c").encode())


def _kept(text: str, most: int) -> int:
    """How many of its first characters take ``most`` bytes in the page."""
    if _size(text) <= most:
        return len(text)
    return max(bisect.bisect(range(min(most, len(text))), most, key=lambda letters: _size(text[:letters])) - 1, 0)


def _cut(text: str, most: int) -> str:
    """The text or, if it takes more than ``most`` bytes, its beginning and how long it is."""
    kept = _kept(text, most)
    return text if kept == len(text) else text[:kept] + _rest(text)


def _rest(text: str) -> str:
    return f" … (cut: {len(text):,} characters in all)"


def _pair(pair: Shown, most: int) -> dict[str, Any]:
    sides = [
        {
            "id": side.id,
            "text": None if side.text is None else _cut(side.text, most),
            "length": side.length,
            "score": side.score,
            "judged": [_judged(judged, most) for judged in side.judged],
            **_refined(side, most),
        }
        for side in pair.sides
    ]
    own = {"run": pair.run, "id": pair.id, "why": pair.why, "delta": pair.delta}
    prompt = [message | {"content": _cut(message["content"], most)} for message in pair.prompt]
    return own | {"promptId": pair.prompt_id, "prompt": prompt, "said": pair.said, "sides": sides}


def _refined(side: Side, most: int) -> dict[str, Any]:
    """Where a completion comes from that was written again."""
    if side.refined is None:
        return {}
    from_, judge, feedback = (side.refined[name] for name in refined.COLUMNS)
    return {"refined": {"from": from_, "judge": judge, "feedback": _cut(feedback, most)}}


def _judged(judged: Judgement, most: int) -> dict[str, Any]:
    """``parts`` in place of ``text`` where near parts are marked."""
    own = {"judge": judged.judge, "status": judged.status, "theme": judged.theme, "numbers": judged.numbers}
    words = {"parts": _parts(judged, most)} if judged.parts else {"text": judged.text and _cut(judged.text, most)}
    return own | words | ({"reason": judged.reason} if judged.reason else {})


def _parts(judged: Judgement, most: int) -> list[tuple[str, float]]:
    """The parts of the text as far as it is kept."""
    text = judged.text or ""
    left, found = _kept(text, most), []
    for piece, near in judged.parts:
        if left > 0:
            found.append((piece[:left], near))
        left -= len(piece)
    return found if left >= 0 else [*found, (_rest(text), 0.0)]


def _form(drawn: Sequence[Drawn], themed: Sequence[Themed], how: str) -> str:
    themes = [theme.name for each in themed for theme in each.themes.themes]
    fields = [
        f'<label class="wide">{SEARCH}<input type="search" name="text" autocomplete="off"></label>',
        _select("Order", "order", ORDERS, None),
        _select("Run", "run", dict(enumerate(each.run.label for each in drawn))) if len(drawn) > 1 else "",
        _select("Feedback of a side", "status", STATUSES),
        _select("Theme of a side", "theme", dict(enumerate(themes))) if themes else "",
        _select("The judge's number", "said", SAID),
        _select("Shown as", "why", WHY),
        '<label>Delta from<input type="number" name="low" step="any"></label>',
        '<label>Delta to<input type="number" name="high" step="any"></label>',
        '<button type="reset">Clear</button>',
    ]
    return (
        f'<form id="pairs-form" role="search" aria-label="Pairs">{"".join(fields)}</form>\n'
        '<p class="small"><output id="pairs-count" for="pairs-form"></output></p>\n'
        f"{COLUMNS}\n"
        f'<ol id="pairs-list" data-near="{html.escape(how)}"></ol>\n'
        '<button type="button" id="pairs-more" hidden>Show more</button>\n'
        f"<noscript>{page.paragraph(NO_SCRIPT)}</noscript>"
    )


def _select(label: str, name: str, options: Mapping[Any, str], every: str | None = "any") -> str:
    first = f'<option value="">{every}</option>' if every else ""
    rest = "".join(
        f'<option value="{html.escape(str(value))}">{html.escape(text)}</option>' for value, text in options.items()
    )
    return f'<label>{html.escape(label)}<select name="{name}">{first}{rest}</select></label>'
