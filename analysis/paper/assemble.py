"""`wim paper RUN...`: the paper's tables and figures from our runs, each number beside the paper's.

One HTML page that opens offline, and beside it the same numbers as JSON.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis import intervals, page
from analysis.paper import experiment, published, section_outcomes, section_ratings, section_training, verdicts
from analysis.paper.experiment import Experiment, named
from analysis.paper.findings import Finding
from builder import tables
from builder.errors import UsageError

TITLE = "What is missing: the paper's tables and figures"
PARTS = (section_ratings.part, section_training.part, section_outcomes.part)
INTERVALS = (
    "Intervals are 95% by the bootstrap over seeds and prompts, resampled apart from each other (the pigeonhole "
    "bootstrap), of training over seeds and steps. Whether we agree with the paper is read from the interval."
)


def run(runs: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write the page to ``out`` and its numbers beside it, as .json. The same runs give the same bytes."""
    beside = out.with_suffix(".json")
    if beside == out:
        raise UsageError(f"-o names the page; its numbers go to {out} beside it: name it .html")
    found = experiment.read(runs)
    parts = [part(found) for part in PARTS]
    findings = [finding for part in parts for finding in part.findings]
    about = _about(found)
    text = page.render(TITLE, [page.sentences(_summary(findings, about)), *(part.html for part in parts)])
    numbers = about | {"findings": [finding.plain() for finding in findings]}
    for part in parts:
        numbers |= part.numbers
    tables.write_json(beside, numbers)
    tables.write_text(out, text)
    return {"page": str(out), "numbers": str(beside), **numbers}


def _about(found: Experiment) -> dict[str, Any]:
    return {
        "runs": len(found.cells),
        "seeds": [None if seed == experiment.NO_SEED else seed for seed in found.seeds],
        "arms": found.arms,
        "rounds": found.rounds,
        "caveat": intervals.caveat(len(found.seeds)),
        "missing": found.missing(),
        "resamples": intervals.RESAMPLES,
    }


def _summary(findings: Sequence[Finding], about: Mapping[str, Any]) -> list[str]:
    """What was compared, how the paper's claims came out, what is missing."""
    seeds = ", ".join(named(experiment.NO_SEED if seed is None else seed) for seed in about["seeds"])
    what = f"{about['runs']} runs: {seeds}; arms {', '.join(map(_with_the_papers_name, about['arms']))}; "
    what += f"rounds {', '.join(map(str, about['rounds']))}."
    claims = [finding.verdict for finding in findings if finding.claim]
    told = [f"{claim.agreement.capitalize()}. {claim.sentence}" for claim in claims]
    said = [what, verdicts.counted(claims) if claims else "", *told]
    return list(filter(None, [*said, INTERVALS, about["caveat"], *about["missing"]]))


def _with_the_papers_name(arm: str) -> str:
    return f"{arm} ({published.ARMS[arm]})" if arm in published.ARMS else arm


def text(result: Mapping[str, Any]) -> str:
    """What the screen shows: the claims, and where the rest is."""
    claims = [found for found in result["findings"] if found["claim"]]
    lines = [f"{found['agreement']:<14}  {found['sentence']}" for found in claims]
    notes = [*filter(None, [result["caveat"]]), *result["missing"]]
    return "\n".join([*lines, *notes, f"page {result['page']}  numbers {result['numbers']}"])
