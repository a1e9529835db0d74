"""The report's themes: what is missing most often, with examples, and how it changes from round to round."""

import html
from collections.abc import Sequence

from analysis import page
from analysis.report.summary import ARMS, count
from analysis.report.themed import Themed
from analysis.runs import Run
from analysis.themes.find import TRAINED, Theme

TEASER, LETTERS = 140, 1_000
MOVED = 3


def section(themed: Sequence[Themed], absent: str) -> str:
    """ "" where no run holds feedback with vectors; ``absent``: why there are none although there could be."""
    if absent:
        return page.section("What is missing most often", absent, page.paragraph("`wim report` again finds them."))
    parts = [_group(each, len(themed) > 1) for each in themed]
    drawn = any(each.themes.trained < each.themes.texts for each in themed)
    note = (
        "Feedback that says something is missing, grouped by its vectors (spherical k-means, FAISS) and named by the "
        "words and pairs of words that tell a group from the others. A group is what the embedder finds alike: often "
        "the prompts' subject as much as the fault."
    )
    if drawn:
        note += f" The groups are found on {TRAINED:,} texts drawn at random; every text is then put into its nearest."
    return page.section("What is missing most often", note, *parts)


def _group(themed: Themed, several: bool) -> str:
    themes = themed.themes.themes
    total = sum(theme.judgements for theme in themes)
    names = ", ".join(run.label for run in themed.runs)
    head = page.heading(names) if several else ""
    said = f"{count(total, 'judgement')}, {count(themed.themes.texts, 'distinct text')}, {count(len(themes), 'theme')}."
    most = max(theme.judgements for theme in themes)
    items = "".join(_theme(theme, place + themed.first, total, most) for place, theme in enumerate(themes))
    return head + page.paragraph(said) + f'<ol class="themes">{items}</ol>' + _over_runs(themed)


def _theme(theme: Theme, place: int, total: int, most: int) -> str:
    share, name = theme.judgements / total, html.escape(theme.name)
    examples = "".join(f"<li>{html.escape(_cut(text, LETTERS))}</li>" for text in theme.examples)
    return (
        f"<li><b>{name}</b>"
        f'<span class="share" aria-hidden="true"><span style="width:{theme.judgements / most:.1%}"></span></span>'
        f'<span class="value">{share:.1%}</span>'
        f'<button type="button" data-theme="{place}" hidden>Show pairs<span class="hidden"> of {name}</span></button>'
        f"<details><summary>{html.escape(_cut(theme.examples[0], TEASER))}</summary><ul>{examples}</ul></details></li>"
    )


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[:letters] + " …"


def _over_runs(themed: Themed) -> str:
    """The share of each theme in each run, and what has moved most from an arm's first round to its last."""
    if len(themed.runs) < 2:
        return ""
    shares = [_shares(themed, run) for run in range(len(themed.runs))]
    rows = [[theme.name, *(of[place] for of in shares)] for place, theme in enumerate(themed.themes.themes)]
    moved = [
        sentence for arm in dict.fromkeys(run.arm for run in themed.runs) if (sentence := _moved(themed, arm, shares))
    ]
    told = [page.paragraph(sentence) for sentence in moved]
    table = page.shares(["Theme", *(run.label for run in themed.runs)], rows)
    return (
        page.heading("By run")
        + page.paragraph("The share of each theme in what each run is missing.")
        + (page.folded("What moved most, arm by arm", *told) if len(told) > ARMS else "".join(told))
        + table
    )


def _shares(themed: Themed, run: int) -> list[float]:
    counts = [theme.counts[run] for theme in themed.themes.themes]
    return [number / max(sum(counts), 1) for number in counts]


def _moved(themed: Themed, arm: str, shares: Sequence[Sequence[float]]) -> str:
    of_arm: list[tuple[int, Run]] = [(place, run) for place, run in enumerate(themed.runs) if run.arm == arm]
    if len(of_arm) < 2:
        return ""
    (first, before), (last, after) = of_arm[0], of_arm[-1]
    names = [theme.name for theme in themed.themes.themes]
    change = sorted(zip(names, shares[first], shares[last], strict=True), key=lambda row: -abs(row[2] - row[1]))
    told = "; ".join(f"“{name}” {old:.0%} to {new:.0%}" for name, old, new in change[:MOVED])
    return f"{arm}, round {before.round} to {after.round}, what moved most: {told}."
