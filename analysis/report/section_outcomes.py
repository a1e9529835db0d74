"""The report's outcomes on held-out prompts: coverage of the truth, and win rates with their intervals."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import polars as pl

from analysis import charts, page, winrate
from analysis.report import charts as own
from analysis.report.summary import ARMS, moves
from analysis.runs import Run
from builder import evaluate, tables

BASE = "the base model"

Won = tuple[Run, str, Mapping[str, Any]]
"""A run, whom its policy is compared with, and the fields of analysis.winrate.WinRate."""


def coverage(runs: Sequence[Run]) -> str:
    """True coverage before and after each round, and the arms against each other."""
    evaluated = [(run, run.evaluation) for run in runs if run.evaluation]
    if not evaluated:
        return ""
    measured = list(_measured(evaluated))
    arms = list(dict.fromkeys(run.arm for run, _ in evaluated))
    points = pl.DataFrame(
        [(arm, when, *(found[name] for name in ("mean", "low", "high"))) for arm, _, when, found in measured],
        schema=["arm", "when", "mean", "low", "high"],
        orient="row",
    )
    times = {when: index for _, index, when, _ in sorted(measured, key=lambda entry: entry[1])}
    told = moves({arm: _ends(points, arm) for arm in arms}, "{:.1%}")
    chart = page.figure(
        charts.coverage(points, arms, list(times)), "Before and after each round", f"First to last: {told}."
    )
    head = ["Arm", "When", "Coverage", "95% interval", "Gain since before", "95% interval of the gain"]
    table = page.table(head, [[arm, when, *_coverage_cells(found)] for arm, _, when, found in measured], 2)
    note = (
        "The share of the reference's facts that greedy completions of held-out prompts contain, with 95% intervals by "
        "resampling these prompts. They leave out the chance in sampling and training: repeat with other seeds before "
        "you trust a small difference."
    )
    return page.section("True coverage", note, chart, table, _arms_compared([run for run, _ in evaluated]))


def _ends(points: pl.DataFrame, arm: str) -> tuple[float, float]:
    means = points.filter(pl.col("arm") == arm)["mean"]
    return float(means[0]), float(means[-1])


def _measured(evaluated: Iterable[tuple[Run, Mapping[str, Any]]]) -> Iterable[tuple[str, int, str, Mapping[str, Any]]]:
    """Arm, place in time, its name, and what was found: before training once for each arm, then by round."""
    arms = set[str]()
    for run, found in evaluated:
        if run.arm not in arms:
            yield run.arm, -1, "before", {name: found[f"base_{name}"] for name in ("mean", "low", "high")}
        arms.add(run.arm)
        yield run.arm, run.round, f"after round {run.round}", found


def _coverage_cells(found: Mapping[str, Any]) -> list[str]:
    cells = [f"{found['mean']:.1%}", f"{found['low']:.1%} to {found['high']:.1%}"]
    return cells + (_difference(found) if "difference" in found else ["–", "–"])


def _difference(found: Mapping[str, Any]) -> list[str]:
    difference, low, high = (100 * found[f"difference{end}"] for end in ("", "_low", "_high"))
    return [f"{difference:+.1f} points", f"{low:+.1f} to {high:+.1f}"]


def _arms_compared(runs: Sequence[Run]) -> str:
    """Arm less arm after the last round, paired by prompt."""
    last = max(run.round for run in runs)
    values = {run.arm: run.table("evaluation") for run in runs if run.round == last}
    rows = []
    for (one, first), (other, second) in combinations(values.items(), 2):
        if first is None or second is None:
            continue
        both = first.join(second, on="prompt_id", suffix="_other").drop_nulls(["value", "value_other"])
        if len(both):
            both = both.sort("prompt_id")
            found = evaluate.summarise(both["value"].to_numpy(), both["value_other"].to_numpy(), seed=0)
            zero = found["difference_low"] <= 0 <= found["difference_high"]
            rows.append([f"{one} less {other}", *_difference(found), "yes" if zero else "no"])
    head = [f"Arms after round {last}", "Difference", "95% interval", "Interval includes zero"]
    table = page.table(head, rows) if rows else ""
    return page.folded("The arms against each other", table) if len(values) > ARMS and rows else table


def wins(runs: Sequence[Run]) -> str:
    """Win rates: against the base model by the truth, and what `wim winrate` has left beside a run."""
    found = [won for run in runs for won in (*_by_truth(run), *_judged(run))]
    if not found:
        return ""
    names = _names(found)
    points = pl.DataFrame(
        [
            (name, won[0].arm, won[2]["win_rate"], won[2]["low"], won[2]["high"])
            for name, won in zip(names, found, strict=True)
        ],
        schema=["run", "arm", "rate", "low", "high"],
        orient="row",
    )
    better = sum(won["low"] > 0.5 for _, _, won in found)
    worse = sum(won["high"] < 0.5 for _, _, won in found)
    said = f"Of the intervals {better} of {len(found)} lie above one half, {worse} below it."
    chart = own.win_rates(points, names, list(dict.fromkeys(run.arm for run in runs)))
    head = ["Policy", "Against", "By", "Win rate", "95% interval", "Wins", "Losses", "Ties", "p", "At equal length"]
    note = (
        "How often the policy's completion of a held-out prompt is preferred to the other's; a tie counts half. p is "
        "of the exact sign test. `wim winrate A B` adds what a judge prefers."
    )
    rows = [_row(won) for won in found]
    return page.section("Win rates", note, page.figure(chart, _title(found), said), page.table(head, rows, 3))


def _by_truth(run: Run) -> Iterable[Won]:
    file = tables.path(run.path, "evaluation")
    there = tables.open_parquet(file).schema_arrow.names if file.is_file() else []
    if "base_value" not in there:
        return
    texts = [name for name in ("text", "base_text") if name in there]
    frame = tables.read(file, "evaluation", ["prompt_id", "value", "base_value", *texts])
    frame = frame.drop_nulls(["value", "base_value"]).sort("prompt_id")
    if len(frame):
        scores = (frame["value"] - frame["base_value"]).sign().to_numpy() / 2 + 0.5
        said = frame.with_columns(pl.lit("").alias(name) for name in ("text", "base_text") if name not in texts)
        said = said.select(pl.col("text").fill_null(""), text_b=pl.col("base_text").fill_null(""))
        yield run, BASE, vars(winrate.summarise(said, scores[:, None], run.seed() or 0, winrate.TRUTH))


def _judged(run: Run) -> Iterable[Won]:
    for against, won in winrate.known(run.path):
        if against or won.judged_by != winrate.TRUTH:  # which _by_truth has told
            yield run, against or BASE, vars(won)


def _names(found: Sequence[Won]) -> list[str]:
    """The run's label, and against and by whom as far as that differs."""
    others, judges = ({won[1] for won in found}, {won[2]["judged_by"] for won in found})
    return [
        run.label
        + (f" over {against}" if len(others) > 1 else "")
        + (f", by {won['judged_by']}" if len(judges) > 1 else "")
        for run, against, won in found
    ]


def _title(found: Sequence[Won]) -> str:
    """Against and by whom, as far as that is the same for all."""
    others, judges = ({won[1] for won in found}, {won[2]["judged_by"] for won in found})
    against = f" over {next(iter(others))}" if len(others) == 1 else ""
    return f"Win rates{against}" + (f", by {next(iter(judges))}" if len(judges) == 1 else "")


def _row(won: Won) -> list[str]:
    run, against, found = won
    length = found["length_controlled"]
    return [
        run.label,
        against,
        found["judged_by"],
        f"{found['win_rate']:.1%}",
        f"{found['low']:.1%} to {found['high']:.1%}",
        *(f"{found[name]:,}" for name in ("wins", "losses", "ties")),
        f"{found['p_value']:.3f}" if found["p_value"] >= 0.001 else "< 0.001",
        "–" if length is None else f"{length:.1%}",
    ]
