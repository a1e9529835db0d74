"""report: runs -> one HTML page that opens offline, on a phone and in the dark."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis import page, section_health, sections, summary
from analysis.runs import Run, load
from builder import tables

SECTIONS = (
    section_health.section,
    sections.ties,
    sections.coverage,
    sections.distributions,
    sections.training,
    sections.accounting,
    sections.examples,
)


def run(runs: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write the page on ``runs`` to ``out``. The same runs give the same bytes."""
    found = load(runs)
    text = render(found)
    tables.write_text(out, text)
    return {"report": str(out), "runs": len(found), "bytes": len(text.encode())}


def render(runs: Sequence[Run]) -> str:
    """The page. Sections whose tables are missing are left out."""
    title = "What is missing: " + (runs[0].label if len(runs) == 1 else summary.count(len(runs), "run"))
    words = page.sentences(summary.sentences(runs))
    return page.render(title, [words, *(section(runs) for section in SECTIONS)])
