"""The report's training: what the trainer logged, and the curve that the reward advantage follows."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from analysis import charts, page
from analysis.paper import charts as trajectory_charts
from analysis.paper import logged, trajectories
from analysis.paper.experiment import NO_SEED, Cell
from analysis.paper.logged import Logged
from analysis.paper.trajectories import Fit
from analysis.report.summary import count, moves
from analysis.runs import Run

ADVANTAGE = "rewards/margins"
DRAWN = {
    "loss": "Loss",
    "rewards/accuracies": "Reward accuracy",
    "entropy": "Entropy",
}
POINTS = trajectory_charts.POINTS

Rows = dict[str, Logged]


def section(runs: Sequence[Run]) -> str:
    """Each arm's rounds follow each other in one line."""
    arms = dict.fromkeys(run.arm for run in runs)
    cells = {arm: [Cell(NO_SEED, arm, run.round, run) for run in runs if run.arm == arm] for arm in arms}
    read = {name: _read(cells, name) for name in (*DRAWN, ADVANTAGE)}
    if not any(read.values()):
        return ""
    lines = [_line(title, read[name]) for name, title in DRAWN.items() if read[name]]
    note = (
        "The rounds of an arm follow each other. Reward accuracy is the share of pairs in which the policy prefers the "
        "chosen completion more than its reference does; entropy is in nats per token."
    )
    if max((of.together.shape[1] for rows in read.values() for of in rows.values()), default=0) > POINTS:
        note += f" More than {POINTS} steps are drawn as means of {POINTS} stretches at most."
    if any(logged.restarts(own) for own in cells.values()):
        note += " Each round's reference is the policy it starts from, so that loss and advantage begin again."
    broken = sum(_broken(run) for run in runs)
    if broken:
        note += f" {count(broken, 'logged value')} {'is' if broken == 1 else 'are'} not finite and not drawn."
    return page.section("Training", note, page.grid(lines, three=True), _advantage(read[ADVANTAGE]))


def _read(cells: Mapping[str, Sequence[Cell]], name: str) -> Rows:
    found = {arm: logged.read(own, name) for arm, own in cells.items()}
    return {arm: of for arm, of in found.items() if of}


def _broken(run: Run) -> int:
    table = run.table("training")
    return 0 if table is None else len(table.filter(~pl.col("value").is_finite()))


def _line(title: str, rows: Rows) -> str:
    points = pl.concat(
        trajectory_charts.thinned(of.together).select(pl.lit(arm).alias("arm"), "step", value="mean")
        for arm, of in rows.items()
    )
    told = moves({arm: _ends(of) for arm, of in rows.items()}, "{:.3f}")
    return page.figure(charts.training(points, title, list(rows)), title, f"First to last tenth: {told}.")


def _ends(of: Logged) -> tuple[float, float]:
    row = of.together[0]
    size = logged.window(row)
    return float(row[:size].mean()), float(row[-size:].mean())


def _advantage(rows: Rows) -> str:
    """The reward advantage of each arm with the curve of the lowest AICc."""
    if not rows:
        return ""
    fits = {arm: trajectories.fit(of.together) for arm, of in rows.items()}
    ends = np.concatenate([of.together.ravel() for of in rows.values()])
    domain, colours = (float(ends.min()), float(ends.max())), charts.colours(list(rows))
    figures = [
        page.figure(
            trajectory_charts.fitted(of.together, of.starts, fit.chosen if fit else None, colours[arm], domain),
            arm or "Reward advantage",
            _told(fit),
        )
        for arm, of in rows.items()
        for fit in [fits[arm]]
    ]
    text = (
        "How much more the policy has come to prefer the chosen completion (chosen less rejected, times beta); a "
        "dotted line is where a round begins. The thick line is the curve of the lowest corrected AIC among constant, "
        "logarithmic, linear and quadratic; how often it is chosen again when steps are resampled in blocks says how "
        "firm the choice is."
    )
    return page.heading("Reward advantage") + page.paragraph(text) + page.grid(figures, three=True)


def _told(fit: Fit | None) -> str:
    """The curve in a sentence."""
    if fit is None:
        return "Too few steps to fit a curve."
    curve = fit.chosen
    flat = curve.r2 is None or curve.family == "constant"
    explained = "" if flat else f"; it explains {curve.r2:.0%} of the variance"
    again = f"chosen again in {curve.chosen_share:.0%} of resamples"
    said = trajectories.equation(curve)
    return f"{said[0].upper()}{said[1:]}; {again}{explained}."
