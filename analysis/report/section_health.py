"""The report's section on trust: what speaks against a rating, by limits that need no truth."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis import page
from analysis.runs import Run
from builder import screen_health
from builder.health import limits, measure
from builder.screen_health import correlation, share

NAMES = {"numerical": "the number", "wim": "WIM", "reward": "the reward"}
LENGTHS = {"completion": "the completion's length", "feedback": "the feedback's length"}
AGREEMENT = {"alpha": "Krippendorff's alpha", "icc1": "ICC(1)", "icc2": "ICC(2,1)", "within": "Ranks within prompts"}


def section(runs: Sequence[Run]) -> str:
    """Warnings in sentences, then the figures, a column for each run."""
    found = {run.label: measure.of_run(run.path) for run in runs if "health" in run.stats}
    measured = {label: summary["health"] for label, summary in found.items()}
    if not measured:
        return ""
    note = (
        "Figures that need no truth. A warning says that a rating is not to be trusted without a look; no warning does "
        "not say that it is right. Correlations are of ranks within prompts (overall in brackets), since a pair "
        "compares two completions of one prompt."
    )
    rows = _figures(measured)
    table = page.table(["Figure", *measured], [[name, *cells] for name, cells in rows.items() if set(cells) != {"–"}])
    told = limits.told(found)
    parts = [table, _retests(measured), _judges(measured), _texts(measured)]
    return page.section(
        "What speaks against trusting a rating",
        note,
        page.sentences(told, "warnings") if told else page.paragraph("No limit is passed."),
        _unmeasured(runs),
        page.folded("All figures", *parts),
    )


def _unmeasured(runs: Sequence[Run]) -> str:
    """That the section is not about all runs; "" where it is."""
    without = sum("health" not in run.stats for run in runs)
    if not without:
        return ""
    told = f"{without:,} of {len(runs):,} runs do not tell their health and have no part in this"
    return page.paragraph(f"{told}; `wim pair RUN` measures it.")


def sentence(runs: Sequence[Run]) -> list[str]:
    """One for the summary: how many warnings there are; none where health was not measured."""
    measured = [run for run in runs if "health" in run.stats]
    if not measured:
        return []
    counts = [len(limits.warnings(measure.of_run(run.path))) for run in measured]
    if sum(counts) == 0:
        few = sum(run.stats["judgements"]["total"] < limits.ENOUGH for run in measured)
        small = f" ({_runs(few, len(measured))} too few judgements to tell)" if few else ""
        return [f"No limit of the ratings' health is passed{small}, which does not say that a rating is right."]
    what = "1 limit of the ratings' health is" if sum(counts) == 1 else f"{sum(counts):,} limits of health are"
    known = "runs" if len(measured) == len(runs) else f"runs whose health is known (of {len(runs):,})"
    where = "" if len(measured) == 1 else f", in {sum(map(bool, counts)):,} of {len(measured):,} {known}"
    return [f"{what} passed{where}: what the warnings below name is not to be trusted without a look."]


def _runs(some: int, every: int) -> str:
    return "there are" if every == 1 else f"{some:,} of {every:,} runs have"


def _figures(measured: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    runs = measured.values()
    rows = {
        f"{NAMES[rating].capitalize() if rating != 'wim' else 'WIM'} with {words}": [
            _correlated(run["length"][text][rating]) for run in runs
        ]
        for text, words in LENGTHS.items()
        for rating in NAMES
    }
    rows["WIM with the judge's number"] = [_correlated(run["words_and_number"]) for run in runs]
    embedders = sorted({name for run in runs for name in run["embedders"]})
    for name in embedders:
        rows[f"WIM with WIM by {name}"] = [_correlated(run["embedders"].get(name)) for run in runs]
    rows["Feedback near to another prompt's"] = [_shared(run["generic"]) for run in runs]
    rows["Feedback that quotes the completion"] = [_shared(run["quotes"]) for run in runs]
    rows["… of whose words are quoted (median)"] = [_plain(share(run["quotes"]["words"])) for run in runs]
    rows["Texts that could not be read"] = [_kind(run, "unreadable") for run in runs]
    rows["Texts that repeat the placeholder"] = [_kind(run, "placeholder") for run in runs]
    rows["Numbers that could not be read"] = [_kind(run, "rating_unreadable") for run in runs]
    return rows


def _correlated(found: Mapping[str, Any] | None) -> str:
    if found is None or found["within"] is None:
        return "–"
    return f"{correlation(found)} ({correlation(found, 'overall')})"


def _shared(found: Mapping[str, Any]) -> str:
    return found.get("unmeasured") or (f"{share(found['share'])} of {found['n']:,}" if found["n"] else "–")


def _kind(run: Mapping[str, Any], kind: str) -> str:
    return _plain(share(screen_health.of_all(run["judges"], kind)))


def _plain(cell: str) -> str:
    return "–" if cell == "-" else cell


def _judges(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each judge; left out where every run has one."""
    kinds = {"unreadable": "Unreadable", "placeholder": "Placeholder", "rating_unreadable": "Unreadable numbers"}
    kinds["asked_again"] = "Read at a later attempt"
    rows = [
        [judge, label, f"{counts['judgements']:,}", *(f"{counts[kind] / counts['judgements']:.1%}" for kind in kinds)]
        for label, run in measured.items()
        for judge, counts in run["judges"].items()
    ]
    return page.table(["Judge", "Run", "Judgements", *kinds.values()], rows, 2) if len(rows) > len(measured) else ""


def _retests(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each judge that was asked again, and what it was asked for."""
    rows = [
        [judge, name, label, f"{found[column]['n']:,}", *(_number(found[column][what]) for what in AGREEMENT)]
        for label, run in measured.items()
        for judge, found in run["retest"].items()
        for column, name in (("rating", "number"), ("wim", "WIM"))
    ]
    head = ["Judge asked again", "Rating", "Run", "Completions", *AGREEMENT.values()]
    return page.table(head, rows, 3) if rows else ""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _texts(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """The most frequent generic texts, folded."""
    rows = [
        [text["words"], label, f"{text['judgements']:,}", f"{text['prompts']:,}"]
        for label, run in measured.items()
        for text in run["generic"].get("texts", [])
    ]
    head = ["Text", "Run", "Texts near it", "About completions of prompts"]
    return page.folded("The most frequent near duplicates", page.table(head, rows, 2)) if rows else ""
