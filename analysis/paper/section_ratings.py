"""Table 1 and the figures of ratings and deltas: the judge's numbers and WIM ratings of the same judgements."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from analysis import charts, histograms, page
from analysis.intervals import Estimate
from analysis.paper import published, rated, shapes, verdicts
from analysis.paper.experiment import Experiment
from analysis.paper.findings import Finding, Part, numbers, table
from analysis.paper.rated import Rated
from analysis.paper.verdicts import Points, shown

NAMES = {"numerical": "number", "wim": "WIM"}
FORMS = {
    "tie_rate": ("Tie rate", "{:.2%}"),
    "average_delta": ("Average delta", "{:.3f}"),
    "normalised_delta": ("Normalised", "{:.4f}"),
    "effect_delta": ("Effect", "{:.3f}"),
}
PAPER_SCALE = (1.0, 10.0)
NOTE = (
    "Both ratings read the same judgements. Judged pairs are any two comparable completions of a prompt, of all arms "
    "and rounds; where runs hold the same judgements, as those of round 0 do, they count once. Deltas compare between "
    "scales only when normalised (divided by the scale's width) or as effect (divided by the standard deviation). The "
    "paper's are another model's on other prompts: equal numbers would be chance, what can be reproduced is the sign."
)
SHAPES = "One value for each comparable completion, all seeds, arms and rounds together."

Statistics = dict[str, dict[str, Estimate]]
Ratings = dict[str, list[Rated]]


def part(experiment: Experiment) -> Part:
    ratings = rated.of_cells(experiment.cells)
    ratings = {method: [one for one in several if len(one.values)] for method, several in ratings.items()}
    together = _statistics(ratings)
    found = _findings(together, ratings)
    scopes = _scopes(experiment, ratings)
    head = ["Judgements of", "Rating", *(title for title, _ in FORMS.values())]
    rows = [
        [scope, NAMES[method], *(shown(of[name], form) for name, (_, form) in FORMS.items())]
        for scope, statistics in scopes.items()
        for method, of in statistics.items()
    ]
    note = f"{NOTE} {published.REMARKS['table 1']}"
    first = page.section("Table 1: ties and deltas", note, table(found), page.table(head, rows, 2))
    claims = _shape_findings(ratings)
    figures = page.section("Figures: ratings and deltas", SHAPES, table(claims), page.grid(_figures(ratings)))
    plain = {scope: _plain(of) for scope, of in scopes.items()}
    return Part(first + figures, found + claims, {"ties": plain})


def _plain(statistics: Statistics) -> dict[str, Any]:
    return {method: {name: numbers(estimate) for name, estimate in of.items()} for method, of in statistics.items()}


def _statistics(ratings: Ratings) -> Statistics:
    return {
        method: rated.statistics(rated.sums(several), _width(several))
        for method, several in ratings.items()
        if any(len(one.pairs.delta) for one in several)
    }


def _width(several: Sequence[Rated]) -> float:
    low, high = _scale(several)
    return high - low


def _scale(several: Sequence[Rated]) -> tuple[float, float]:
    return min(one.scale[0] for one in several), max(one.scale[1] for one in several)


def _scopes(experiment: Experiment, ratings: Ratings) -> dict[str, Statistics]:
    """All runs, each round and each arm. An arm's own runs are read again: round 0 is every arm's."""
    scopes = {"all arms and rounds": _statistics(ratings)}
    if len(experiment.rounds) > 1:
        for index in experiment.rounds:
            of_round = {m: [one for one in several if one.round == index] for m, several in ratings.items()}
            scopes[f"round {index}, all arms"] = _statistics(of_round)
    if len(experiment.arms) > 1:
        for arm in experiment.arms:
            scopes[f"{arm}, all rounds"] = _statistics(rated.of_cells(experiment.of(arm)))
    return scopes


def _findings(of: Statistics, ratings: Ratings) -> list[Finding]:
    found = []
    for method, statistics in of.items():
        name = "the judge's numbers" if method == "numerical" else "WIM ratings"
        tie, average = published.TIE_RATE[method], published.AVERAGE_DELTA[method]
        rows = [("tie_rate", f"Tie rate of {name}", tie), ("average_delta", f"Average delta of {name}", average)]
        rows.append(("normalised_delta", f"Normalised delta of {name}", average / published.SCALE_WIDTH[method]))
        for key, what, paper in rows:
            form, ours = FORMS[key][1], statistics[key]
            verdict = verdicts.same_number(what, ours, paper, form)
            if key == "average_delta" and method == "numerical" and _scale(ratings[method]) != PAPER_SCALE:
                verdict = verdicts.incomparable(what, ours, form, _other_scale(_scale(ratings[method])))
            found.append(Finding("table 1", what, "", ours, paper, form, verdict))
    return found + (_between(of) if len(of) == len(rated.METHODS) else [])


def _other_scale(scale: tuple[float, float]) -> str:
    return f"since our numbers stand on {scale[0]:g} to {scale[1]:g} and the paper's on 1 to 10"


def _between(of: Statistics) -> list[Finding]:
    """WIM against the judge's numbers, in each resample."""
    numerical, wim = of["numerical"], of["wim"]
    ties = numerical["tie_rate"] - wim["tie_rate"]
    paper = published.TIE_RATE["numerical"] - published.TIE_RATE["wim"]
    what = "Tie rate of the judge's numbers less that of WIM ratings"
    verdict = verdicts.same_side(what, ties, paper, Points(2))
    found = [Finding("table 1", what, "", ties, paper, Points(2), verdict, claim=True)]
    raw = published.AVERAGE_DELTA["wim"] / published.AVERAGE_DELTA["numerical"]
    widths = published.SCALE_WIDTH["wim"] / published.SCALE_WIDTH["numerical"]
    ratios = {"average_delta": ("average", raw), "normalised_delta": ("normalised", raw / widths)}
    for key, (name, paper) in ratios.items():
        what = f"WIM's {name} delta over that of the numbers"
        ours = wim[key] / numerical[key]
        if key == "average_delta":
            verdict = verdicts.incomparable(what, ours, "{:.3f}", "for the two stand on different scales")
        else:
            verdict = verdicts.same_side(what, ours, paper, "{:.3f}", 1.0)
        claimed = key != "average_delta"
        found.append(Finding("table 1", what, "", ours, paper, "{:.3f}", verdict, claimed))
    what, ours = "WIM's effect delta over that of the numbers", wim["effect_delta"] / numerical["effect_delta"]
    verdict = verdicts.ours_only(what, ours, "{:.3f}")
    return [*found, Finding("table 1", what, "", ours, None, "{:.3f}", verdict)]


def _shape_findings(ratings: Ratings) -> list[Finding]:
    found = []
    if ratings["numerical"]:
        found.append(_modes(shapes.of(ratings["numerical"]), _scale(ratings["numerical"])))
    if ratings["wim"]:
        found += _wim_shape(shapes.of(ratings["wim"]))
    return found


def _modes(shape: shapes.Shape, scale: tuple[float, float]) -> Finding:
    what, form = "Share of the judge's numbers that are 7 or 8", "{:.1%}"
    said = f"{shown(shape.at_published_modes, form)} are 7 or 8"
    if shape.modes and shape.at_modes:
        modes = " and ".join(f"{mode:g}" for mode in shape.modes)
        said += f"; the two most frequent are {modes} with {shown(shape.at_modes, form)}"
    verdict = verdicts.claim("The judge's numbers cluster on 7 and 8", shape.modes == published.MODES, said)
    if scale != PAPER_SCALE:
        verdict = verdicts.incomparable(what, shape.at_published_modes, form, _other_scale(scale))
    return Finding("figures", what, "", shape.at_published_modes, "cluster", form, verdict, claim=True)


def _wim_shape(shape: shapes.Shape) -> list[Finding]:
    """Negative skew, close to normal, a spike at 10."""
    below, tails, number = shape.skewness_below, shape.kurtosis_below, "{:+.2f}"
    spike = shape.at_top - shape.next_to_top
    said = f"{shown(shape.at_top, '{:.1%}')} are exactly 10, {shown(shape.next_to_top, '{:.1%}')} just below"
    at_top = verdicts.claim("WIM ratings have a spike at 10", _positive(spike), said)
    said = f"without those at 10 the skewness is {shown(below, number)}, with them {shown(shape.skewness, number)}"
    skewed = verdicts.claim("WIM ratings have a negative skew", _positive(below / -1.0), said)
    normal = "Excess kurtosis of WIM ratings below 10, 0 for a normal distribution"
    why = "for the paper says 'close to normal' of a figure, and gives no number"
    close = verdicts.incomparable(normal, tails, number, why)
    return [
        Finding("figures", "Share of WIM ratings at 10", "", shape.at_top, "spike", "{:.1%}", at_top, claim=True),
        Finding("figures", "Skewness of WIM ratings below 10", "", below, "negative", number, skewed, claim=True),
        Finding("figures", normal, "", tails, "close to normal", number, close),
    ]


def _positive(estimate: Estimate) -> bool | None:
    """Whether it is above 0, None where its interval does not say."""
    low, high = estimate.interval
    return True if low > 0 else False if high <= 0 else None


def _figures(ratings: Ratings) -> list[str]:
    scales = {method: _scale(several) for method, several in ratings.items() if several}
    figures = []
    for method, scale in scales.items():
        values = np.concatenate([one.values for one in ratings[method]])
        bins = histograms.of_ratings(values, scale)
        title = "The judge's numbers" if method == "numerical" else "WIM ratings"
        subtitle = f"{len(values):,} completions"
        figures.append(page.figure(charts.ratings(bins, NAMES[method], method, scale), title, subtitle))
    deltas = {method: _deltas(ratings[method], NAMES[method], scale) for method, scale in scales.items()}
    deltas = {method: frame for method, frame in deltas.items() if frame["count"].sum()}
    if deltas:
        largest = max(histograms.end(frame) for frame in deltas.values())
        subtitle = ", ".join(f"{frame['count'].sum():,} judged pairs by {NAMES[m]}" for m, frame in deltas.items())
        figures.append(page.figure(charts.deltas(deltas, largest), "Deltas", subtitle))
    return figures


def _deltas(several: Sequence[Rated], name: str, scale: tuple[float, float]) -> pl.DataFrame:
    """The deltas of all runs as shares of the scale, in bins."""
    deltas = np.concatenate([one.factor * one.pairs.delta for one in several])
    return histograms.of_shares(deltas / (scale[1] - scale[0])).with_columns(rating=pl.lit(name))
