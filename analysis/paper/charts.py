"""A value over training with the curve that was fitted to it."""

import altair as alt
import numpy as np
import polars as pl

from analysis.charts import HEIGHT
from analysis.intervals import Numbers
from analysis.paper.trajectories import Curve

POINTS = 300


def thinned(rows: Numbers, points: int = POINTS) -> pl.DataFrame:
    """step, mean, low, high over seeds of ``rows`` [seeds, steps]: as means of stretches, ``points`` at most."""
    count = rows.shape[1]
    stretch = np.arange(count) // max(-(-count // points), 1)
    frame = pl.DataFrame(
        {"step": np.arange(1, count + 1), "mean": rows.mean(axis=0), "low": rows.min(axis=0), "high": rows.max(axis=0)}
    )
    means = frame.group_by(pl.Series("stretch", stretch), maintain_order=True).agg(
        pl.col("step").max(), *(pl.col(name).mean().round(6) for name in ("mean", "low", "high"))
    )
    return means.drop("stretch")


def fitted(
    rows: Numbers, starts: tuple[int, ...], curve: Curve | None, colour: str, domain: tuple[float, float]
) -> alt.LayerChart:
    """``starts``: steps before each round; ``domain``: of the value's axis."""
    frame = thinned(rows)
    x = alt.X("step:Q", title="Optimiser step", axis=alt.Axis(tickMinStep=1))
    scale = alt.Scale(domain=list(domain), nice=True)
    y = {"title": "Reward advantage", "scale": scale}
    tooltip = ["step:Q", *(alt.Tooltip(f"{name}:Q", format=".4f") for name in frame.columns[1:])]
    base = alt.Chart(frame).encode(x, tooltip=tooltip)
    layers: list[alt.Chart] = [
        base.mark_area(opacity=0.22, color=colour).encode(alt.Y("low:Q", **y), alt.Y2("high:Q")),
        base.mark_line(strokeWidth=1.2, color=colour).encode(alt.Y("mean:Q", **y)),
    ]
    if len(starts) > 1:
        rounds = pl.DataFrame({"start": [start + 0.5 for start in starts[1:]]})
        layers.append(alt.Chart(rounds).mark_rule(color="var(--faint)", strokeDash=[2, 3]).encode(alt.X("start:Q")))
    if curve:
        steps = frame["step"].to_numpy().astype(np.float64)
        line = pl.DataFrame({"step": frame["step"], "curve": curve.at(steps).round(6)})
        layers.append(alt.Chart(line).mark_line(strokeWidth=3.5, color=colour).encode(x, alt.Y("curve:Q", **y)))
    return alt.layer(*layers).properties(width="container", height=HEIGHT)
