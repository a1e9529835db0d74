"""The card's pictures: how ratings and deltas are distributed, one curve for each run."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder import tables
from builder.hub.runs import Run

BINS = 40
MOST = 8
"""Runs in a picture: more colours cannot be told apart."""
COLOURS = ["#0072b2", "#d55e00", "#7f7f7f", "#009e73", "#cc79a7", "#56b4e9", "#b59b00", "#000000"]
RATINGS = {"rating": "The judge's number", "wim_10": "WIM, 0 to 10"}
DELTA = {"delta": "Difference of the two rewards of a pair"}

Floats = NDArray[np.float64]
Panels = Mapping[str, list[dict[str, Any]]]
"""Bins of all runs by a panel's title."""


def write(runs: Sequence[Run], out: Path) -> dict[str, str]:
    """PNG files below ``out``: what each shows, by its name; none where there is nothing to show."""
    made = {
        "images/ratings.png": ("ratings", RATINGS, "Share of judgements", "The distribution of the ratings"),
        "images/deltas.png": ("pairs", DELTA, "Share of pairs", "How far apart the sides of a pair are"),
    }
    runs = runs[:MOST]
    return {
        name: what
        for name, (table, columns, share, what) in made.items()
        if _draw(_panels(runs, table, columns), [run.config for run in runs], share, out / name)
    }


def _panels(runs: Sequence[Run], table: str, columns: Mapping[str, str]) -> Panels:
    """Without columns that have no value."""
    found = {title: _bins(runs, table, column) for column, title in columns.items()}
    return {title: bins for title, bins in found.items() if bins}


def _draw(panels: Panels, names: Sequence[str], share: str, file: Path) -> bool:
    """Write the picture; whether there is one."""
    if not panels:
        return False
    from vl_convert import vegalite_to_png

    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": "white",
        "config": {"view": {"stroke": None}},
        "hconcat": [_panel(bins, title, share, names) for title, bins in panels.items()],
    }
    tables.write_bytes(file, vegalite_to_png(spec, scale=2))
    return True


def _panel(bins: list[dict[str, Any]], title: str, share: str, names: Sequence[str]) -> dict[str, Any]:
    legend = {"title": None, "orient": "top", "columns": 4} if len(names) > 1 else None
    colours = {"domain": list(names), "range": COLOURS[: len(names)]}
    return {
        "width": 360,
        "height": 220,
        "data": {"values": bins},
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1.8},
        "encoding": {
            "x": {"field": "value", "type": "quantitative", "title": title, "scale": {"nice": False, "zero": False}},
            "y": {"field": "share", "type": "quantitative", "title": share, "axis": {"format": "%"}},
            "color": {"field": "run", "type": "nominal", "scale": colours, "legend": legend},
        },
    }


def _bins(runs: Sequence[Run], table: str, column: str) -> list[dict[str, Any]]:
    """run, value (a bin's lower end) and share; all runs in the same bins, which end with a share of 0."""
    found = {run.config: ends for run in runs if (ends := _ends(run, table, column))}
    if not found:
        return []
    low, high = min(low for low, _ in found.values()), max(high for _, high in found.values())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    shares = {run.config: _shares(run, table, column, edges) for run in runs if run.config in found}
    return [
        {"run": run, "value": round(float(value), 9), "share": float(share)}
        for run, each in shares.items()
        for value, share in zip(edges, each, strict=True)
    ]


def _ends(run: Run, table: str, column: str) -> tuple[float, float] | None:
    """The least and the largest value."""
    ends = [(float(part.min()), float(part.max())) for part in _values(run, table, column)]
    return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None


def _shares(run: Run, table: str, column: str, edges: Floats) -> Floats:
    counts = np.sum([np.histogram(part, edges)[0] for part in _values(run, table, column)], axis=0)
    shares: Floats = np.append(counts / counts.sum(), 0)
    return shares


def _values(run: Run, table: str, column: str) -> Iterator[Floats]:
    """A column in parts, none of which is empty, without nulls."""
    for block in tables.batches(tables.find(run.folder, table), table, [column]):
        if block[column].count():
            yield block[column].drop_nulls().to_numpy()
