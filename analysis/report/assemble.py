"""`wim report RUN...`: one HTML page that opens offline, on a phone and in the dark."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from analysis import page
from analysis.report import (
    drawn,
    nearest,
    section_accounting,
    section_benchmarks,
    section_health,
    section_outcomes,
    section_pairs,
    section_ratings,
    section_settings,
    section_sides,
    section_themes,
    section_training,
    summary,
    themed,
    told,
)
from analysis.runs import Run, load
from builder import embed, tables
from builder.errors import UsageError
from builder.language import models
from builder.params import Params

PAIRS = 500
BYTES, BYTES_A_PAIR = 4_900_000, 7_000
"""How large the page may become: with ``PAIRS`` pairs at most, and for each further one. Texts are cut to fit."""
STYLE = Path(__file__).with_name("report.css")
FIRST = (section_health.section, section_sides.section, section_ratings.ties, section_ratings.distributions)
LAST = (
    section_accounting.section, section_training.section, section_outcomes.coverage, section_outcomes.wins,
    section_benchmarks.section,
)  # fmt: skip


def run(
    paths: Sequence[Path], out: Path, params: Params, pairs: int = PAIRS, embedding: bool = False
) -> dict[str, Any]:
    """Write the page on the runs ``paths`` to ``out``. The same runs give the same bytes.

    ``pairs``: how many are shown at most. ``embedding``: what is near in feedback is marked by the embedder of
    ``params``, not by words.
    """
    found = load(paths)
    text = render(found, params, pairs, embedding)
    tables.write_text(out, text)
    return {"report": str(out), "runs": len(found), "bytes": len(text.encode())}


def render(runs: Sequence[Run], params: Params, pairs: int = PAIRS, embedding: bool = False) -> str:
    """The page. Sections whose tables are missing are left out."""
    groups, absent = themed.of(runs, params.seed)
    sample = drawn.draw(groups, tuple(runs), pairs, params.seed)
    shown = told.read(sample, groups)
    near, how = _by_vectors(runs, params) if embedding else (nearest.by_words, nearest.BY_WORDS)
    nearest.mark(shown, near)
    before = [*(section(runs) for section in FIRST), section_themes.section(groups, absent)]
    after = [*(section(runs) for section in LAST), section_settings.section(runs, params.seed)]
    opening = [page.paragraph(_about(runs), "lead"), page.sentences(summary.sentences(runs, groups))]
    style, module = (file.read_text(encoding="utf-8") for file in (STYLE, section_pairs.MODULE))

    def whole(browser: str) -> str:
        parts = [*before, browser, *after]
        return page.render(_title(runs), [*opening, page.contents(parts), *parts], style, [module])

    room = BYTES + BYTES_A_PAIR * max(len(shown) - PAIRS, 0) - len(whole("").encode())
    return whole(section_pairs.section(sample, shown, groups, how, room))


def _by_vectors(runs: Sequence[Run], params: Params) -> tuple[nearest.Near, str]:
    """Nearness by the embedder of ``params``. Raises UsageError for a run that another one has embedded."""
    for one in runs:
        file = tables.path(one.path, "embeddings")
        if file.is_file() and not embed.is_of(file, params.embed):
            raise UsageError(
                f"{file}: is of another embedder than embed.model ({models.label(params.embed.model)}) says"
            )
    return partial(nearest.by_vectors, settings=params.embed), f"by the vectors of {models.label(params.embed.model)}"


def _title(runs: Sequence[Run]) -> str:
    return "What is missing: " + (runs[0].label if len(runs) == 1 else summary.count(len(runs), "run"))


def _about(runs: Sequence[Run]) -> str:
    """Arms and their rounds, in a line."""
    rounds: dict[str, list[int]] = {}
    for one in runs:
        rounds.setdefault(one.arm, []).append(one.round)
    if len(rounds) > summary.ARMS:
        return f"A report on {summary.count(len(rounds), 'arm')} with {summary.count(len(runs), 'run')} in all."
    told = [f"{arm} (round{'s' if len(of) > 1 else ''} {', '.join(map(str, of))})" for arm, of in rounds.items()]
    return f"A report on {'; '.join(told)}." if len(runs) > 1 else "A report on one run."
