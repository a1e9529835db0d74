"""By which rule pairs are taken from judged completions: applied, and inferred where a dataset does not tell it."""

from typing import Literal

import polars as pl

from analysis.compare.side import Rule
from builder.compare import DECIMALS, JudgedPairs, comparable, judged_pairs
from builder.pair import select
from builder.params import Pair

Strategy = Literal["best_worst", "all", "best_random", "adjacent"]
STRATEGIES: tuple[Strategy, ...] = ("best_worst", "all", "adjacent", "best_random")
"""That are tried where a dataset does not say which was taken."""
EMPTY = "empty_completion"
SEED = 42
"""That ``best_random`` draws by, unless it was set."""
ENDS = ["chosen_id", "rejected_id"]


def judged(judgements: pl.DataFrame, completions: pl.DataFrame, column: str, judge: str) -> JudgedPairs:
    """The judged pairs by the rating ``column``; a judgement of an empty completion counts nowhere."""
    counted = judgements.filter(pl.col("reason").fill_null("") != EMPTY)
    return judged_pairs(comparable(counted, completions, column, judge))


def taken(pairs: JudgedPairs, rule: Rule) -> pl.DataFrame:
    """Columns prompt_id, chosen_id, rejected_id, delta of the pairs that the rule takes."""
    rows = select(pairs, rule.pair, rule.seed)
    better, worse = pairs.values[pairs.better[rows]], pairs.values[pairs.worse[rows]]
    return pl.DataFrame(
        {
            "prompt_id": better["prompt_id"],
            "chosen_id": better["completion_id"],
            "rejected_id": worse["completion_id"],
            "delta": pairs.delta[rows],
        }
    )


def inferred(judgements: pl.DataFrame, completions: pl.DataFrame, pairs: pl.DataFrame, judge: str) -> Rule | None:
    """The first rule that gives exactly ``pairs``; None if none does."""
    found = judged(judgements, completions, "reward", judge)
    for strategy in STRATEGIES:
        rule = Rule(_with_gap(strategy, found, pairs, judge), SEED)
        made = taken(found, rule)
        if len(made) == len(pairs) == len(made.join(pairs, on=ENDS, how="semi")):
            return rule
    return None


def _with_gap(strategy: Strategy, found: JudgedPairs, pairs: pl.DataFrame, judge: str) -> Pair:
    """Its gap is the largest delta of the pairs that it would take and that are not there, or 0.

    The gap can have been wider, up to the smallest delta that is there: the data does not tell.
    """
    if (pairs["delta"].round(DECIMALS) <= 0).any():
        return Pair(strategy, ties="keep", judge=judge)
    random = strategy == "best_random"  # which takes one pair of a prompt, if there is one that is no tie
    wanted = taken(found, Rule(Pair("best_worst" if random else strategy, ties="keep"), SEED))
    lacking = wanted.join(pairs, on="prompt_id" if random else ENDS, how="anti")["delta"].round(DECIMALS)
    return Pair(strategy, max(0.0, *lacking.to_list()) if len(lacking) else 0.0, judge=judge)


def note(whose: str, rule: Rule | None) -> str:
    """What is to be said of a rule that was inferred, or could not be."""
    told = f"{whose} does not say by which rule its pairs were taken"
    if rule is None:
        return f"{told}, and no rule that is tried gives them"
    taken = f"{rule.pair.strategy} with a tie up to a gap of {rule.pair.min_gap:g}, ties: {rule.pair.ties}"
    return f"{told}; what gives exactly these is taken for it: {taken}"
