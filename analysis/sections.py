"""The report's sections, each from runs to HTML, "" where no run holds what it shows."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import polars as pl

from analysis import charts, histograms, page
from analysis.runs import Run
from builder import evaluate, tables

METHODS = {"numerical": "number", "wim": "WIM", "reward": "reward"}
TIES = {
    "tie_rate": ("Tie rate", "{:.2%}"),
    "ties": ("Ties", "{:,}"),
    "judged_pairs": ("Judged pairs", "{:,}"),
    "average_delta": ("Average delta", "{:.3f}"),
    "normalised_delta": ("Normalised", "{:.4f}"),
    "effect_delta": ("Effect", "{:.3f}"),
    "mean": ("Mean", "{:.3f}"),
    "std": ("Std", "{:.3f}"),
    "skewness": ("Skew", "{:+.2f}"),
}
ACCOUNT = {
    "Prompts": ("prompts", "total"),
    "… that gave pairs": ("prompts", "paired"),
    "… with ties only": ("prompts", "tied"),
    "… with fewer than two to compare": ("prompts", "too_few"),
    "Completions": ("completions", "total"),
    "… empty": ("completions", "empty"),
    "… longer than the embedder reads": ("completions", "truncated_for_embedding"),
    "Judgements": ("judgements", "total"),
    "… say what is missing": ("judgements", "missing"),
    "… say that nothing is missing": ("judgements", "nothing"),
    "… unreadable feedback": ("judgements", "unreadable"),
    "… no feedback": ("judgements", "absent"),
    "Unreadable numbers": ("judgements", "rating_unreadable"),
    "Ratable judgements": ("judgements", "ratable"),
}
TRAINED = {"loss": "Loss", "rewards/margins": "Reward margin"}
POINTS = 300
LETTERS = 1_000


def ties(runs: Sequence[Run]) -> str:
    """Tie statistics of every run and method."""
    rows = [
        [run.label, METHODS.get(method, method), *(_shown(entry[name], form) for name, (_, form) in TIES.items())]
        for run in runs
        for method, entry in run.stats["methods"].items()
    ]
    note = (
        "The ratings of a run read the same judgements: the judge's number, WIM, and the reward that made the run's "
        "pairs. A judged pair is any two comparable completions of a prompt; a tie differs by pair.min_gap at most, "
        "which is 0 unless it is set. Deltas are on each rating's own scale, so they compare only as normalised "
        "(divided by the scale's width) or as effect (divided by the standard deviation)."
    )
    return page.section("Ties", note, page.table(["Run", "Rating", *(title for title, _ in TIES.values())], rows, 2))


def coverage(runs: Sequence[Run]) -> str:
    """True coverage before and after each round, and the arms against each other."""
    evaluated = [(run, run.evaluation) for run in runs if run.evaluation]
    if not evaluated:
        return ""
    measured = list(_measured(evaluated))
    arms = _arms(run for run, _ in evaluated)
    points = pl.DataFrame(
        [(arm, when, *(found[name] for name in ("mean", "low", "high"))) for arm, _, when, found in measured],
        schema=["arm", "when", "mean", "low", "high"],
        orient="row",
    )
    times = {when: index for _, index, when, _ in sorted(measured, key=lambda entry: entry[1])}
    chart = page.figure(charts.coverage(points, arms, list(times)), "Before and after each round, with 95% intervals")
    head = ["Arm", "When", "Coverage", "95% interval", "Gain since before", "95% interval of the gain"]
    table = page.table(head, [[arm, when, *_coverage_cells(found)] for arm, _, when, found in measured], 2)
    note = (
        "The share of the reference's facts that greedy completions of held-out prompts contain. The intervals are "
        "bootstraps over these prompts. They leave out the chance in sampling and training: repeat with other seeds "
        "before you trust a small difference."
    )
    return page.section("True coverage", note, chart, table, _arms_compared([run for run, _ in evaluated]))


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
    return page.table(head, rows) if rows else ""


def distributions(runs: Sequence[Run]) -> str:
    """The ratings of each run, the judge's number on its scale beside WIM on 0 to 10, and how ratings differ."""
    counted = [(run, histograms.of_run(run)) for run in runs]
    ratings = [
        page.figure(charts.ratings(bins, METHODS[method], method, found.scales[method]), run.label)
        for run, found in counted
        for method, bins in found.ratings.items()
    ]
    differing = [(run, found.deltas) for run, found in counted if found.deltas]
    largest = max((histograms.end(bins) for _, found in differing for bins in found.values()), default=1.0)
    deltas = [
        page.figure(charts.deltas(_named(found), largest), run.label, _tie_rates(run)) for run, found in differing
    ]
    values = "One value for each completion that can be compared: its judge's or, of several judges, the mean."
    step = 1 / histograms.DELTA_BINS
    note = (
        f"How far the two ratings of each judged pair differ. The first bars hold the ties and deltas below {step:.1%}."
    )
    return page.section("Ratings", values, page.grid(ratings)) + page.section("Deltas", note, page.grid(deltas))


def _named(found: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    return {method: bins.with_columns(rating=pl.lit(METHODS[method])) for method, bins in found.items()}


def _tie_rates(run: Run) -> str:
    rates = {METHODS[method]: run.stats["methods"][method]["tie_rate"] for method in histograms.DISPLAY}
    return "Ties: " + ", ".join(f"{name} {_shown(rate, '{:.1%}')}" for name, rate in rates.items())


def training(runs: Sequence[Run]) -> str:
    """What the trainer logged, by optimiser step, a chart for each round."""
    logged = [(run, frame) for run in runs if (frame := run.table("training")) is not None]
    arms = _arms(run for run, _ in logged)
    figures = []
    for index in sorted({run.round for run, _ in logged}):
        of_round = [frame.with_columns(arm=pl.lit(run.arm)) for run, frame in logged if run.round == index]
        for name, title in TRAINED.items():
            values = pl.concat(_thinned(frame.filter(pl.col("name") == name)) for frame in of_round)
            if len(values):
                figures.append(page.figure(charts.training(values, title, arms), f"{title}, round {index}"))
    broken = sum(len(frame.filter(~pl.col("value").is_finite())) for _, frame in logged)
    note = "The reward margin is the policy's implicit reward of the chosen less that of the rejected completion. "
    note += f"A training longer than {POINTS} steps is shown as means of {POINTS} stretches at most."
    note += f" {broken:,} logged values are not finite and not drawn." if broken else ""
    return page.section("Training", note, page.grid(figures))


def _thinned(values: pl.DataFrame) -> pl.DataFrame:
    """Arm, step, value: at most POINTS rows, each the mean of as many steps as need be."""
    finite = values.filter(pl.col("value").is_finite()).sort("step")
    stretch = (pl.int_range(pl.len()) // max(-(-len(finite) // POINTS), 1)).alias("stretch")
    means = finite.group_by(stretch, maintain_order=True).agg(
        pl.col("arm").first(), pl.col("step").max(), pl.col("value").mean().round(6)
    )
    return means.drop("stretch")


def accounting(runs: Sequence[Run]) -> str:
    """The way from prompts to pairs, a column for each run."""
    rows = [[title, *(_count(run.stats[part], name) for run in runs)] for title, (part, name) in ACCOUNT.items()]
    reasons = sorted({reason for run in runs for reason in run.stats["judgements"]["reasons"]})
    rows += [
        [f"… not ratable: {reason}", *(_count(run.stats["judgements"]["reasons"], reason) for run in runs)]
        for reason in reasons
    ]
    rows.append(["Pairs", *(f"{run.stats['pairs']:,}" for run in runs)])
    note = "What became of every prompt, completion and judgement under the run's own rating."
    return page.section("From prompts to pairs", note, page.table(["Count", *(run.label for run in runs)], rows))


def _count(counts: Mapping[str, Any], name: str) -> str:
    return _shown(counts.get(name), "{:,}")


def examples(runs: Sequence[Run]) -> str:
    """The pair with the largest delta of each run, with the words that decided it."""
    note = "The pair with the largest delta of each run; longer texts are cut."
    return page.section("Pairs in words", note, *filter(None, map(_example, runs)))


def _example(run: Run) -> str:
    deltas = run.table("pairs", ["pair_id", "delta"])
    if deltas is None or deltas.is_empty():
        return ""
    name, delta = deltas.sort("delta", "pair_id", descending=[True, False]).row(0)
    # Scanned, so that a million pairs' texts need not fit into memory for one of them.
    found = pl.scan_parquet(tables.path(run.path, "pairs"), glob=False).filter(pl.col("pair_id") == name).collect()
    return page.folded(f"{run.label}: pair {name}, delta {delta:.3f}", in_words(found.row(0, named=True)))


def in_words(pair: Mapping[str, Any]) -> str:
    """A row of the pairs table as it would be read: the prompt, each side, and what it is missing."""
    prompt = "\n\n".join(message["content"] for message in pair["prompt"])
    passages = [page.passage("Prompt", _cut(prompt or f"(known by its id only: {pair['prompt_id']})"))]
    for side in ("chosen", "rejected"):
        text, said = pair[side][-1]["content"], pair.get(f"{side}_feedback") or f"({pair[f'{side}_status']})"
        passages.append(page.passage(f"{side.capitalize()}, score {pair[f'score_{side}']:+.3f}", _cut(text)))
        passages.append(page.passage(f"What the {side} one is missing", _cut(said)))
    return "".join(passages)


def _cut(text: str) -> str:
    return text if len(text) <= LETTERS else text[:LETTERS] + " …"


def _arms(runs: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(run.arm for run in runs))


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
