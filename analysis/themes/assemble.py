"""`wim themes RUN...`: what feedback asks for again and again, and what that has to do with the labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.audit.measure import told
from analysis.intervals import Estimate
from analysis.themes import decide, find, labels, said
from analysis.themes.find import Themes
from builder.errors import EngineError, TableError, UsageError
from builder.params import Params

MOST = 5
"""Themes that are few."""


def run(runs: Sequence[Path], params: Params, count: int | None = None, file: Path | None = None) -> dict[str, Any]:
    """The themes of the runs together, as one JSON object; labels are their pairs or, with ``file``, a truth's.

    Raises TableError where no feedback has vectors, UsageError where the runs' vectors are of several embedders, and
    EngineError where FAISS is not installed.
    """
    _check_embedders(runs)
    try:
        found = find.find(runs, params.seed, count)
    except ImportError as error:
        raise EngineError("themes need FAISS: pip install faiss-cpu") from error
    if found is None:
        raise TableError(f"{runs[0]}: no text says what is missing and has a vector; run `wim embed {runs[0]}`")
    known = labels.of(runs, found, file, params.pair.min_gap)
    result: dict[str, Any] = {"runs": [str(run) for run in runs], "texts": found.texts, "pairs": len(known.missing)}
    if not len(known.missing):
        return result | {"themes": [_theme(found, place, runs) for place in range(len(found.themes))]}
    decided = decide.decides(known)
    themes = [_theme(found, place, runs) | _decides(decided[place]) for place in range(len(found.themes))]
    nothing = {"name": labels.NOTHING} | _decides(decided[-1])
    foretold = decide.foretold(known, MOST, params.seed) | _every(known, params.seed)
    by_few = [{"themes": taken} | told(estimate, "accuracy") for taken, estimate in foretold.items()]
    return result | {"prompts": known.prompts, "themes": themes, "nothing": nothing, "foretold": by_few}


def _check_embedders(runs: Sequence[Path]) -> None:
    by_embedder: dict[str | None, Path] = {}
    for each in runs:
        by_embedder.setdefault(said.embedder(each), each)
    if None in by_embedder:
        raise TableError(f"{by_embedder[None]}: no feedback with vectors; run `wim embed {by_embedder[None]}`")
    if len(by_embedder) > 1:
        one, other, *_ = by_embedder.values()
        raise UsageError(f"{one} and {other} have vectors of two embedders: ask for their themes one by one")


def _every(known: labels.Labels, seed: int) -> dict[int, Estimate]:
    """By all themes, where these are more than a few."""
    count = known.missing.shape[1]
    return {count: decide.foretold(known, count, seed)[count]} if count > MOST else {}


def _theme(found: Themes, place: int, runs: Sequence[Path]) -> dict[str, Any]:
    theme = found.themes[place]
    totals = [sum(each.counts[number] for each in found.themes) for number in range(len(runs))]
    shares = {str(run): theme.counts[number] / max(totals[number], 1) for number, run in enumerate(runs)}
    facts: Mapping[str, Any] = {"judgements": theme.judgements, "shares": shares, "examples": list(theme.examples)}
    return {"name": theme.name, **facts}


def _decides(found: decide.Decides) -> dict[str, Any]:
    return {"decides": {"pairs": found.pairs} | told(found.rejected, "rejected") | {"weight": found.weight}}
