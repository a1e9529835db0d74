"""Pieces of the HTML page. Text from data becomes HTML here and nowhere else: escaped."""

import html
import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from string import Template

import altair as alt
import vl_convert

TEMPLATE = Path(__file__).with_name("report.html")


def render(title: str, parts: Iterable[str]) -> str:
    """The whole page: Vega's scripts once, no address that anything would be loaded from."""
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(title), body="\n".join(filter(None, parts)), vega=_vega())


@cache
def _vega() -> str:
    """The scripts that draw, bundled in seconds and so once."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace("</script", "<\\/script")


def section(title: str, note: str, *parts: str) -> str:
    """A headed part of the page; "" where there is nothing in it."""
    if not any(parts):
        return ""
    return f'<h2>{html.escape(title)}</h2>\n<p class="note">{html.escape(note)}</p>\n' + "\n".join(filter(None, parts))


def sentences(texts: Iterable[str]) -> str:
    """The summary, a sentence or two to each item."""
    return '<ul class="summary">\n' + "\n".join(f"<li>{html.escape(text)}</li>" for text in texts) + "\n</ul>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1, prose: bool = False) -> str:
    """A table that scrolls in its own box; the first ``words`` columns hold words, the others figures.

    ``prose``: the first and the last column hold sentences, whose lines break.
    """
    kinds = ["text"] * words + [""] * (len(head) - words)
    kinds = ["prose", *kinds[1:-1], "prose"] if prose else kinds
    top = "".join(_cell("th", text, kind, ' scope="col"') for text, kind in zip(head, kinds, strict=True))
    body = "\n".join("<tr>" + _row(row, kinds) + "</tr>" for row in rows)
    label = html.escape(head[0])
    return (
        f'<div class="box" tabindex="0" role="group" aria-label="Table: {label}">'
        f"<table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _row(row: Sequence[str], kinds: Sequence[str]) -> str:
    return _cell("th", row[0], kinds[0], ' scope="row"') + "".join(
        _cell("td", text, kind) for text, kind in zip(row[1:], kinds[1:], strict=True)
    )


def _cell(tag: str, text: str, kind: str, attributes: str = "") -> str:
    attributes += f' class="{kind}"' if kind else ""
    return f"<{tag}{attributes}>{html.escape(text)}</{tag}>"


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
