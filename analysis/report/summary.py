"""The report's first words: what the numbers say, in sentences, and what they do not."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.report import section_health
from analysis.report.themed import Themed
from analysis.runs import Run

NAMED = 3
ARMS = 6
"""Beyond so many arms what became of each is not told in a sentence of its own."""


def sentences(runs: Sequence[Run], themed: Sequence[Themed] = ()) -> list[str]:
    """Plain text, one finding each: pairs, ties, judgements, themes, health, and the coverage of each arm."""
    first = [_ties(runs), _pairs(runs), _judgements(runs)]
    return [*first, *section_health.sentence(runs), *_themes(themed), *_coverage(runs)]


def _themes(themed: Sequence[Themed]) -> list[str]:
    """The largest themes of the first group of runs."""
    if not themed or len(themed[0].themes.themes) < 2:
        return []
    themes = themed[0].themes.themes
    total = sum(theme.judgements for theme in themes)
    told = ", ".join(f"“{theme.name}” ({theme.judgements / total:.0%})" for theme in themes[:NAMED])
    return [f"What is missing most often: {told}."]


def _ties(runs: Sequence[Run]) -> str:
    number = _tied("the judge's numbers", [run.stats["methods"]["numerical"] for run in runs])
    text = _tied("WIM ratings", [run.stats["methods"]["wim"] for run in runs])
    if not any(run.stats["methods"][rating]["judged_pairs"] for run in runs for rating in ("numerical", "wim")):
        return "No two completions of a prompt could be compared, so there are neither ties nor pairs."
    found = f"{number[0].upper()}{number[1:]}; {text}."
    return f"{found} Fewer ties leave more pairs; whether they are better is another question."


def _tied(rating: str, methods: Sequence[Mapping[str, Any]]) -> str:
    ties, judged = (sum(method[name] for method in methods) for name in ("ties", "judged_pairs"))
    if not judged:
        return f"{rating} compare no two completions of a prompt"
    return f"{rating} tie {ties:,} of {judged:,} judged pairs ({ties / judged:.1%})"


def _pairs(runs: Sequence[Run]) -> str:
    total, paired, tied, too_few = (
        sum(run.stats["prompts"][name] for run in runs) for name in ("total", "paired", "tied", "too_few")
    )
    made = sum(run.stats["pairs"] for run in runs)
    where = "" if len(runs) == 1 else f" in {len(runs)} runs"
    return (
        f"{count(made, 'preference pair')} came out{where}: of {count(total, 'prompt')}, {paired:,} gave pairs, "
        f"{tied:,} gave only ties, and {too_few:,} had fewer than two completions to compare."
    )


def _judgements(runs: Sequence[Run]) -> str:
    said = [run.stats["judgements"] for run in runs]
    total, unreadable, numbers = (
        sum(entry[name] for entry in said) for name in ("total", "unreadable", "rating_unreadable")
    )
    share = f" ({unreadable / total:.1%})" if total else ""
    return (
        f"Of {count(total, 'judgement')}, {unreadable:,}{share} had feedback that could not be read "
        f"and {numbers:,} a number that could not."
    )


def _coverage(runs: Sequence[Run]) -> list[str]:
    last = {run.arm: run for run in runs if run.evaluation}
    if len(last) <= ARMS:
        return [_moved(run, run.evaluation) for run in last.values() if run.evaluation]
    found = [run.evaluation for run in last.values() if run.evaluation]
    rose, fell = sum(one["difference_low"] > 0 for one in found), sum(one["difference_high"] < 0 for one in found)
    gains = [100 * one["difference"] for one in found]
    return [
        f"True coverage on held-out prompts rose in {rose} of {len(found)} arms and fell in {fell} (95% intervals), by "
        f"{min(gains):+.1f} to {max(gains):+.1f} points."
    ]


def _moved(run: Run, found: Mapping[str, Any]) -> str:
    difference, low, high = (found[f"difference{end}"] for end in ("", "_low", "_high"))
    verdict = "which is more than before"
    if low <= 0 <= high:
        verdict = "an interval that includes zero, so no change is shown"
    elif high < 0:
        verdict = "which is less than before"
    return (
        f"{run.arm}: true coverage on {count(found['n'], 'held-out prompt')} was {found['base_mean']:.1%} before and "
        f"{found['mean']:.1%} after round {run.round}, a difference of {100 * difference:+.1f} points "
        f"(95% interval {100 * low:+.1f} to {100 * high:+.1f}), {verdict}."
    )


def moves(ends: Mapping[str, tuple[float, float]], form: str) -> str:
    """From where to where a value has gone in each arm, by its two ends; of many arms in how many it rose and fell."""
    if len(ends) <= ARMS:
        return "; ".join(f"{arm} {form.format(first)} to {form.format(last)}" for arm, (first, last) in ends.items())
    rose, fell = sum(last > first for first, last in ends.values()), sum(last < first for first, last in ends.values())
    return f"it rose in {rose} and fell in {fell} of {len(ends)} arms"


def count(number: int, noun: str) -> str:
    """``1 pair``, ``2,000 pairs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
