"""Pieces of the HTML page. Text from data becomes HTML here and nowhere else: escaped."""

import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

import altair as alt
import vl_convert

TEMPLATE = Path(__file__).with_name("report.html")


def render(title: str, parts: Iterable[str]) -> str:
    """The whole page: Vega's scripts once, no address that anything would be loaded from."""
    vega = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(title), body="\n".join(filter(None, parts)), vega=vega)


def section(title: str, note: str, *parts: str) -> str:
    """A headed part of the page; "" where there is nothing in it."""
    if not any(parts):
        return ""
    return f'<h2>{html.escape(title)}</h2>\n<p class="note">{html.escape(note)}</p>\n' + "\n".join(filter(None, parts))


def sentences(texts: Iterable[str]) -> str:
    """The summary, a sentence or two to each item."""
    return '<ul class="summary">\n' + "\n".join(f"<li>{html.escape(text)}</li>" for text in texts) + "\n</ul>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table that scrolls in its own box; the first ``words`` columns hold words, the others figures."""
    top = "".join(_cell("th", text, i < words, ' scope="col"') for i, text in enumerate(head))
    body = "\n".join("<tr>" + _row(row, words) + "</tr>" for row in rows)
    label = html.escape(head[0])
    return (
        f'<div class="box" tabindex="0" role="group" aria-label="Table: {label}">'
        f"<table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _row(row: Sequence[str], words: int) -> str:
    return _cell("th", row[0], True, ' scope="row"') + "".join(
        _cell("td", text, i < words) for i, text in enumerate(row[1:], start=1)
    )


def _cell(tag: str, text: str, word: bool, attributes: str = "") -> str:
    kind = ' class="text"' if word else ""
    return f"<{tag}{attributes}{kind}>{html.escape(text)}</{tag}>"


def figure(chart: alt.TopLevelMixin, title: str, subtitle: str = "") -> str:
    """A chart under its title. The specification is JSON in which no tag can end or begin."""
    specification = json.dumps(chart.to_dict(), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    small = f"<small>{html.escape(subtitle)}</small>" if subtitle else ""
    return (
        f"<figure><figcaption>{html.escape(title)}{small}</figcaption>"
        f'<div class="chart"><script type="application/json">{specification}</script></div></figure>'
    )


def grid(figures: Iterable[str]) -> str:
    """Figures side by side as far as the screen is wide; "" where there is none."""
    inside = "\n".join(figures)
    return f'<div class="grid">\n{inside}\n</div>' if inside else ""


def passage(title: str, text: str) -> str:
    """A quoted text under its title."""
    return f"<h3>{html.escape(title)}</h3><blockquote>{html.escape(text)}</blockquote>"


def folded(title: str, *parts: str) -> str:
    """Parts that a click unfolds."""
    return f"<details><summary>{html.escape(title)}</summary>{''.join(parts)}</details>"
