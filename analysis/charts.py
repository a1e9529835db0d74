"""The report's charts. Colours are names of the page's style, so that one picture serves day and night."""

from collections.abc import Mapping, Sequence

import altair as alt
import polars as pl

from analysis.runs import SEED

FIXED = {"numerical": "var(--blue)", "wim": "var(--orange)", "random": "var(--grey)"}
FREE = [f"var(--{name})" for name in ("green", "pink", "yellow", "cyan", "blue", "orange", "grey")]
HEIGHT = 200


def ratings(bins: pl.DataFrame, name: str, method: str, scale: tuple[float, float]) -> alt.Chart:
    """A histogram (low, high, count, share) of one method's values."""
    low, high = scale
    title = f"Rating: {name} ({low:g} to {high:g})"
    domain = [min(low, bins["low"][0]), max(high, bins["high"][-1])]
    return _sized(
        alt.Chart(bins)
        .mark_bar(color=FIXED[method])
        .encode(
            alt.X("low:Q", bin="binned", title=title, scale=alt.Scale(domain=domain, nice=False)),
            alt.X2("high:Q"),
            alt.Y("share:Q", title="Share of completions", axis=alt.Axis(format="%")),
            tooltip=_bin_tooltip("completions", ".3~f"),
        )
    )


def deltas(bins: Mapping[str, pl.DataFrame], largest: float) -> alt.Chart:
    """Histograms of deltas by method (low, high, count, share, rating: its name); the axis ends at ``largest``.

    The methods share the width of a bin, side by side.
    """
    part = (pl.col("high") - pl.col("low")) / len(bins)
    frame = pl.concat(
        of_method.filter(pl.col("low") < largest).with_columns(left=pl.col("low") + i * part, part=part)
        for i, of_method in enumerate(bins.values())
    ).with_columns(pl.col("left").round(6), right=(pl.col("left") + pl.col("part")).round(6))
    names = frame["rating"].unique(maintain_order=True).to_list()
    title = "Difference of the two ratings (% of the scale)"
    scale = alt.Scale(domain=[0, largest], nice=False)
    return _sized(
        alt.Chart(frame.drop("part"))
        .mark_bar()
        .encode(
            alt.X("left:Q", bin="binned", title=title, axis=alt.Axis(format="%"), scale=scale),
            alt.X2("right:Q"),
            alt.Y("share:Q", stack=None, title="Share of judged pairs", axis=alt.Axis(format="%")),
            _colour("rating", names, [FIXED[method] for method in bins]),
            tooltip=["rating:N", *_bin_tooltip("judged pairs", ".1%")],
        )
    )


def coverage(points: pl.DataFrame, arms: Sequence[str], times: Sequence[str]) -> alt.LayerChart:
    """Mean coverage with its 95% interval: arm, when (of ``times``), and mean, low, high in [0, 1]."""
    base = alt.Chart(points).encode(
        alt.X("when:N", sort=list(times), title=None, axis=alt.Axis(labelAngle=0)),
        alt.XOffset("arm:N", sort=list(arms), scale=alt.Scale(paddingOuter=0.6)),
        arm_colour(arms),
        tooltip=["arm:N", "when:N", *(alt.Tooltip(f"{name}:Q", format=".1%") for name in ("mean", "low", "high"))],
    )
    title = "True coverage (% of the facts)"
    y = {"title": title, "axis": alt.Axis(format="%"), "scale": alt.Scale(zero=False, nice=True, padding=12)}
    bars = base.mark_rule(strokeWidth=2).encode(alt.Y("low:Q", **y), alt.Y2("high:Q"))
    dots = base.mark_point(size=70, filled=True, opacity=1).encode(alt.Y("mean:Q", **y))
    return alt.layer(bars, dots).properties(width="container", height=1.3 * HEIGHT)


def training(values: pl.DataFrame, title: str, arms: Sequence[str]) -> alt.Chart:
    """One logged value by step: arm, step (optimiser steps from 1), value."""
    return _sized(
        alt.Chart(values)
        .mark_line(strokeWidth=1.8)
        .encode(
            alt.X("step:Q", title="Optimiser step", axis=alt.Axis(tickMinStep=1)),
            alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
            arm_colour(arms),
            tooltip=["arm:N", "step:Q", alt.Tooltip("value:Q", format=".4f")],
        )
    )


def colours(arms: Sequence[str]) -> dict[str, str]:
    """Each arm's colour: its own, or one that is free. The seeds of an arm share one."""
    plain = {arm: arm.partition(SEED)[0] for arm in arms}
    free = iter(FREE * len(arms))
    drawn = {name: FIXED.get(name) or next(free) for name in dict.fromkeys(plain.values())}
    return {arm: drawn[name] for arm, name in plain.items()}


def arm_colour(arms: Sequence[str], legend: bool = True) -> alt.Color:
    """The colour of the field ``arm``."""
    return _colour("arm", list(arms), list(colours(arms).values()), legend)


def _colour(field: str, domain: list[str], colours: list[str], legend: bool = True) -> alt.Color:
    columns = 2 if len(domain) > 3 else len(domain)  # four names in a row are wider than a phone
    shown = alt.Legend(orient="top", title=None, columns=columns) if legend and len(domain) > 1 else None
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=domain, range=colours), legend=shown)


def _bin_tooltip(counted: str, form: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("low:Q", title="from", format=form),
        alt.Tooltip("high:Q", title="to", format=form),
        alt.Tooltip("count:Q", title=counted, format=","),
        alt.Tooltip("share:Q", format=".1%"),
    ]


def _sized(chart: alt.Chart) -> alt.Chart:
    return chart.properties(width="container", height=HEIGHT)
