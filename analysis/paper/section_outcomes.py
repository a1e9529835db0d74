"""Win rates against the base model, true coverage, and table 4: what the arms' last policies can do."""

from collections.abc import Mapping

import polars as pl

from analysis import charts, page
from analysis.intervals import Estimate
from analysis.paper import benchmarked, outcomes, published, verdicts
from analysis.paper.experiment import Experiment
from analysis.paper.findings import Finding, Part, in_paper, numbers, table
from analysis.paper.outcomes import Outcome, Versus
from analysis.paper.verdicts import Form, Points

NOTE = (
    "Greedy completions of held-out prompts by each arm's last policies and by the base model. Who wins is decided by "
    "the truth, the share of the reference's facts that a completion holds; a tie counts half. The exact sign test and "
    "the prompts needed are over prompts, each the mean over seeds, which share them and are no further evidence there."
)
UNKNOWN = (
    "No evaluation here holds a true value beside the base model's: run `wim evaluate RUN` on prompts with references, "
    "or have a judge compare, `wim winrate RUN`."
)
BENCHMARKS = "No run holds benchmarks.json: `wim eval RUN` on each arm's last round makes it."
AGAINST = (
    (published.MOVING, published.NUMERICAL),
    (published.FIXED, published.NUMERICAL),
    (published.FIXED, published.MOVING),
)
PERCENT = "{:.1%}"
POINTS = Points(1)
RELATIVE = "{:+.1%}"

Outcomes = Mapping[str, Outcome]


def part(experiment: Experiment) -> Part:
    read = {arm: outcomes.read(experiment.last(arm)) for arm in experiment.arms}
    measured = {arm: outcomes.of(frame) for arm, frame in read.items() if frame is not None}
    found = {arm: outcome for arm, outcome in measured.items() if outcome}
    versus = {arm: outcome.versus for arm, outcome in found.items() if outcome.versus}
    findings = _win_rates(versus) + _coverage(found) + _arms_compared(found)
    told = "" if findings else page.sentences([UNKNOWN])
    note = f"{NOTE} {published.REMARKS['win rates']}"
    parts = [_chart(experiment, found), table(findings), _tests(versus), told]
    html = page.section("Win rates and coverage", note, *parts)
    benchmarks = _benchmarks(experiment)
    plain = {arm: _plain(outcome) for arm, outcome in found.items()}
    return Part(html + benchmarks.html, findings + benchmarks.findings, {"outcomes": plain})


def _win_rates(versus: Mapping[str, Versus]) -> list[Finding]:
    what, found = "Win rate against the base model", []
    rates = {arm: of.win_rate for arm, of in versus.items()}
    for arm, rate in rates.items():
        paper = published.WIN_RATE.get(arm)
        if paper is None:
            verdict = verdicts.ours_only(f"{what}, {arm}", rate, PERCENT)
        else:
            verdict = verdicts.not_significant(f"{what}, {arm}", rate, paper, PERCENT, 0.5)
        found.append(Finding("win rates", what, arm, rate, paper, PERCENT, verdict))
    in_order = verdicts.order(what, rates, published.WIN_RATE)
    if in_order:
        said = in_paper(rates, published.WIN_RATE)
        found.append(Finding("win rates", what, said, None, "so", PERCENT, in_order, claim=True))
    if {published.FIXED, published.NUMERICAL} <= set(rates):
        gain = rates[published.FIXED] / rates[published.NUMERICAL] - 1.0
        name = "Relative gain in win rate, wim-fixed over numerical"
        verdict = verdicts.same_side(name, gain, published.WIN_RATE_GAIN, RELATIVE)
        found.append(Finding("win rates", name, "", gain, published.WIN_RATE_GAIN, RELATIVE, verdict, claim=True))
    return found


def _coverage(found: Outcomes) -> list[Finding]:
    findings = []
    for arm, outcome in found.items():
        rows: list[tuple[str, Estimate, Form]] = [("True coverage", outcome.coverage, PERCENT)]
        if outcome.versus:
            rows.append(("Coverage less the base model's", outcome.versus.difference, POINTS))
            controlled = outcome.versus.length_controlled
            rows += [("Win rate at equal lengths", controlled, PERCENT)] if controlled else []
        for what, ours, form in rows:
            verdict = verdicts.ours_only(f"{what}, {arm}", ours, form)
            findings.append(Finding("win rates", what, arm, ours, None, form, verdict))
    return findings


def _arms_compared(found: Outcomes) -> list[Finding]:
    """Arm less arm, resample by resample: where all win against the base model, this still tells them apart."""
    findings = []
    for one, other in AGAINST:
        if {one, other} <= set(found):
            what, ours = f"Coverage, {one} less {other}", found[one].coverage - found[other].coverage
            findings.append(Finding("win rates", what, "", ours, None, POINTS, verdicts.ours_only(what, ours, POINTS)))
    return findings


def _tests(versus: Mapping[str, Versus]) -> str:
    head = ["Arm", "Prompts", "Wins", "Losses", "Ties", "Sign test p", "Prompts needed"]
    rows = [
        [
            arm,
            *(f"{count:,}" for count in (of.prompts, of.wins, of.losses, of.prompts - of.wins - of.losses)),
            f"{of.p_value:.3g}",
            f"{of.prompts_needed:,}" if of.prompts_needed else "–",
        ]
        for arm, of in versus.items()
    ]
    return page.table(head, rows) if rows else ""


def _chart(experiment: Experiment, found: Outcomes) -> str:
    """Coverage before and after each round."""
    if not found:
        return ""
    rows: list[tuple[str, str, float, float, float]] = []
    for arm in found:
        for index in sorted({cell.round for cell in experiment.of(arm)}):
            frame = outcomes.read([cell for cell in experiment.of(arm) if cell.round == index])
            frame = None if frame is None else frame.drop_nulls("value")
            if frame is None or frame.is_empty():
                continue
            base = frame.drop_nulls("base_value").with_columns(value="base_value")
            if len(base) and not any(row[0] == arm for row in rows):
                rows.append((arm, "before", *_span(base)))
            rows.append((arm, f"after round {index}", *_span(frame)))
    points = pl.DataFrame(rows, schema=["arm", "when", "mean", "low", "high"], orient="row")
    times = ["before", *(f"after round {index}" for index in experiment.rounds)]
    chart = charts.coverage(points, list(found), [time for time in times if time in points["when"]])
    return page.figure(chart, "True coverage before and after each round", "95% intervals over seeds and prompts")


def _span(frame: pl.DataFrame) -> tuple[float, float, float]:
    coverage = outcomes.coverage(frame)
    return coverage.value, *coverage.interval


def _benchmarks(experiment: Experiment) -> Part:
    found = {arm: benchmarked.of(experiment.last(arm)) for arm in experiment.arms}
    findings = []
    for name, paper in published.BENCHMARKS.items():
        for arm, of in found.items():
            findings += _benchmark(name, arm, of[name], paper) if name in of else []
    head, note = "Table 4: benchmarks", "In percent, of each arm's last policies; by `wim eval`."
    told = "" if findings else page.sentences([BENCHMARKS])
    return Part(page.section(head, note, table(findings), told), findings)


def _benchmark(name: str, arm: str, of: Mapping[str, Estimate], paper: Mapping[str, float]) -> list[Finding]:
    """The difference from the base model: the figure itself is another model's."""
    own, form = f"{name}, {arm}", "{:.2f}"
    findings = [
        Finding("table 4", name, arm, of["value"], paper.get(arm), form, verdicts.ours_only(own, of["value"], form))
        if arm not in paper
        else Finding(
            "table 4",
            name,
            arm,
            of["value"],
            paper[arm],
            form,
            verdicts.same_number(own, of["value"], paper[arm], form),
        )
    ]
    if "difference" in of and arm in paper:
        what, change = f"{name} less the base model's", paper[arm] - paper[published.BASE]
        verdict = verdicts.same_side(f"{what}, {arm}", of["difference"], change, "{:+.2f}")
        findings.append(Finding("table 4", what, arm, of["difference"], change, "{:+.2f}", verdict, claim=True))
    return findings


def _plain(outcome: Outcome) -> dict[str, object]:
    versus = outcome.versus
    plain: dict[str, object] = {"coverage": numbers(outcome.coverage)}
    if not versus:
        return plain
    controlled = numbers(versus.length_controlled) if versus.length_controlled else None
    plain |= {"difference": numbers(versus.difference), "win_rate": numbers(versus.win_rate)}
    plain |= {"length_controlled": controlled}
    return plain | {name: getattr(versus, name) for name in ("prompts", "wins", "losses", "p_value", "prompts_needed")}
