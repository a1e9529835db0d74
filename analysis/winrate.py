"""`wim winrate A [B]`: how often the completions of one policy are preferred to those of another, or of the base model.

Both have completed the same held-out prompts (`wim evaluate`). A judge sees each pair in both orders; a
tie counts half. With ``--truth`` the values of the evaluation decide instead of a judge.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.runs import named
from builder import generate, ids, sources, tables
from builder.engines import Request, Sampling
from builder.errors import TableError
from builder.evaluate import bootstrap
from builder.judging import pairwise, panel
from builder.language import models
from builder.language.policy import Policy
from builder.params import Params

Numbers = NDArray[np.float64]

FILE = "winrates.json"
TRUTH = "truth"


@dataclass(frozen=True)
class WinRate:
    """Of A against B. Rates are in [0, 1] and count ties half; intervals are 95%, by the bootstrap over prompts.

    ``length_controlled``: the rate at equal lengths. ``first_wins``: how often the answer shown first was
    preferred, 0.5 for a judge without position bias; ``agree``: share of prompts on which both orders say
    the same. ``p_value``: exact two-sided sign test over the prompts that are no tie, which is McNemar's
    exact test on wins and losses. ``prompts_needed``: to find a difference of this size in four of five
    experiments; None where there is none. ``unreadable`` verdicts are left out.
    """

    prompts: int
    win_rate: float
    low: float
    high: float
    wins: int
    losses: int
    ties: int
    length_controlled: float | None
    first_wins: float | None
    agree: float | None
    p_value: float
    prompts_needed: int | None
    unreadable: int
    judged_by: str


def run(a: Path, b: Path | None, params: Params, truth: bool = False) -> WinRate:
    """The win rate of run ``a`` over run ``b`` (None: over the base model that ``a`` was evaluated against).

    It is kept in ``a``, for the report. Raises TableError if their evaluations share no prompt.
    """
    result = _compared(a, b, params, truth)
    _keep(a, b, result)
    return result


def _compared(a: Path, b: Path | None, params: Params, truth: bool) -> WinRate:
    pairs = paired(a, b)
    if truth:
        scored = pairs.drop_nulls(["value", "value_b"])
        if scored.is_empty():
            raise TableError(f"{a}: no held-out prompt has a reference, so the truth is not known; let a judge decide")
        scores = np.sign(scored["value"].to_numpy() - scored["value_b"].to_numpy()) / 2 + 0.5
        return summarise(scored, scores[:, None], params.seed, TRUTH)
    params, by = panel.who(params, None)
    return summarise(pairs, verdicts(pairs, by, params), params.seed, models.label(by.model))


def known(run: Path) -> list[tuple[str, WinRate]]:
    """What was found on the run's evaluation as it is now: against whom ("" for the base model), and the rate."""
    file = run / FILE
    if not file.is_file() or not tables.path(run, "evaluation").is_file():
        return []
    said = tables.read_json(file)
    if said.get("evaluation") != tables.fingerprints({"evaluation": _evaluation(run)})["evaluation"]:
        return []
    try:
        return [(entry["against"], WinRate(**entry["rate"])) for entry in said["rates"]]
    except (KeyError, TypeError) as error:
        raise TableError(f"{file}: not what `wim winrate` writes ({error!r}); remove it, and run it again") from error


def _keep(a: Path, b: Path | None, result: WinRate) -> None:
    """Beside the evaluation that it is of; one of the same two by the same judge is replaced."""
    against = named(b)[2] if b else ""
    rates = [found for found in known(a) if (found[0], found[1].judged_by) != (against, result.judged_by)]
    entries = [{"against": name, "rate": vars(rate)} for name, rate in [*rates, (against, result)]]
    try:
        tables.write_json(a / FILE, tables.fingerprints({"evaluation": _evaluation(a)}) | {"rates": entries})
    except TableError as error:
        print(f"the win rate is not kept for `wim report`: {error}", file=sys.stderr)


def paired(a: Path, b: Path | None) -> pl.DataFrame:
    """Columns prompt_id, text, value, text_b, value_b, messages of the prompts that both have completed."""
    columns = ["prompt_id", "text", "value"]
    one = tables.read(_evaluation(a), "evaluation", columns)
    heldout = tables.read(tables.find(a, "heldout"), "heldout", ["prompt_id", "messages"])
    pairs = one.join(_other(a, b), on="prompt_id", suffix="_b").join(heldout, on="prompt_id").sort("prompt_id")
    if pairs.is_empty():
        raise TableError(f"{a} and {b or 'its base model'} have no held-out prompt in common")
    return pairs


def _other(a: Path, b: Path | None) -> pl.DataFrame:
    if b is not None:
        return tables.read(_evaluation(b), "evaluation", ["prompt_id", "text", "value"])
    beside = tables.read(_evaluation(a), "evaluation", ["prompt_id", "base_text", "base_value"])
    return beside.rename({"base_text": "text", "base_value": "value"})


def _evaluation(folder: Path) -> Path:
    file = tables.path(folder, "evaluation")
    if not file.is_file():
        raise TableError(f"{file} does not exist: run `wim evaluate {folder}` first")
    return file


def verdicts(pairs: pl.DataFrame, by: Policy, params: Params) -> Numbers:
    """[prompts, 2]: 1 where A is preferred, 0 where B is, 0.5 for a tie, NaN if unreadable; A first, then B first."""
    sampling = Sampling(0.0, params.judge.max_tokens)

    def requests() -> Iterator[Request]:
        for name, messages, text, text_b in pairs.select("prompt_id", "messages", "text", "text_b").iter_rows():
            for first, second in ((text, text_b), (text_b, text)):
                asked = tuple(pairwise.messages(messages, first, second))
                yield Request(asked, by, ids.seed_of(params.seed, name), sampling)

    done = generate.generate("compare", requests(), 2 * len(pairs), by, sources.source(params, [by]), "winrate")
    raw = [text for block in done.blocks(columns=["text"]) for text in block["text"].to_pylist()]
    first = np.array([pairwise.read(text) for text in raw], np.float64).reshape(-1, 2)
    return np.stack([first[:, 0], 1 - first[:, 1]], axis=1)


def summarise(pairs: pl.DataFrame, scores: Numbers, seed: int, judged_by: str) -> WinRate:
    """``scores``: [prompts, orders], NaN where there is none. Raises TableError without any."""
    readable = ~np.isnan(scores)
    kept = readable.any(axis=1)
    if not kept.any():
        raise TableError(f"none of the {scores.size} verdicts can be read; can {judged_by} follow the format?")
    by_prompt = np.nanmean(scores[kept], axis=1)
    both = scores[readable.all(axis=1)] if scores.shape[1] == 2 else np.empty((0, 2))
    lengths = [pairs[name].str.len_chars().to_numpy().astype(np.float64)[kept] for name in ("text", "text_b")]
    wins, losses = int((by_prompt > 0.5).sum()), int((by_prompt < 0.5).sum())
    low, high = bootstrap(by_prompt[None], seed)[:, 0].tolist()
    return WinRate(
        prompts=len(by_prompt),
        win_rate=float(by_prompt.mean()),
        low=low,
        high=high,
        wins=wins,
        losses=losses,
        ties=len(by_prompt) - wins - losses,
        length_controlled=length_controlled(by_prompt, *lengths),
        first_wins=float((both[:, 0] + 1 - both[:, 1]).mean() / 2) if len(both) else None,
        agree=float((both[:, 0] == both[:, 1]).mean()) if len(both) else None,
        p_value=sign_test(wins, losses),
        prompts_needed=prompts_needed(by_prompt),
        unreadable=int((~readable).sum()),
        judged_by=judged_by,
    )


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided p-value that wins and losses are equally likely."""
    number = wins + losses
    tail: int = sum(math.comb(number, k) for k in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / (1 << number))


def prompts_needed(values: Numbers, power: float = 0.84162, level: float = 1.95996) -> int | None:
    """Prompts at which this difference from one half is found at the 5% level with a probability of 80%.

    ``power`` and ``level`` are the normal quantiles of 0.8 and 0.975.
    """
    difference = abs(float(values.mean()) - 0.5)
    return math.ceil(float(values.var()) * ((power + level) / difference) ** 2) if difference > 1e-12 else None


def length_controlled(values: Numbers, a: Numbers, b: Numbers) -> float | None:
    """The win rate at equal lengths: logistic regression on tanh of the scaled difference in length, set to 0.

    Dubois et al., "Length-Controlled AlpacaEval" (2024), without its term for each prompt's difficulty,
    which is fitted on other models' results. None where lengths do not differ or the fit has no end.
    """
    difference = a - b
    if not difference.std() > 0:
        return None
    design = np.stack([np.ones_like(values), np.tanh(difference / difference.std())], axis=1)
    weights = np.zeros(2)
    for _ in range(100):
        rate = 1 / (1 + np.exp(-design @ weights))
        curvature = design.T @ (design * (rate * (1 - rate))[:, None])
        if np.linalg.cond(curvature) > 1e12:
            return None
        step = np.linalg.solve(curvature, design.T @ (values - rate))
        weights += step
        if np.abs(step).max() < 1e-10:
            return float(1 / (1 + np.exp(-weights[0])))
    return None


def text(result: WinRate) -> str:
    """The result in words."""
    r = result
    lines = [
        f"win rate {r.win_rate:.1%} [{r.low:.1%}, {r.high:.1%}] over {r.prompts:,} prompts, judged by {r.judged_by}",
        f"{r.wins:,} wins, {r.losses:,} losses, {r.ties:,} ties; exact sign test p = {r.p_value:.3g}",
    ]
    if r.length_controlled is not None:
        lines.append(f"at equal lengths {r.length_controlled:.1%}")
    if r.first_wins is not None and r.agree is not None:
        lines.append(
            f"the answer shown first won {r.first_wins:.1%}; both orders agree on {r.agree:.1%} of the prompts"
        )
    needed = f"about {r.prompts_needed:,}" if r.prompts_needed else "no number of"
    lines.append(f"{needed} prompts would show a difference of this size in four of five experiments")
    if r.unreadable:
        lines.append(f"{r.unreadable:,} verdicts could not be read")
    return "\n".join(lines)
