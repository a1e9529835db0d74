"""Agreement of one rating with the truth: pair agreement, Kendall's tau-b, AUC, each with its resamples by prompt.

All are ratios of sums over prompts, so that one product of matrices resamples them (analysis.intervals): with one
seed the pigeonhole bootstrap is the bootstrap over prompts. The same prompts give the same draws, whatever the rating,
so that ratings are compared resample by resample.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis import intervals
from analysis.audit.pairs import Pairs
from analysis.intervals import Estimate, Numbers, Sums
from builder.compare import DECIMALS

RESAMPLES = 1_000
SEED = 0

Column = NDArray[np.float64] | NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Compared:
    """A rating on the pairs that the truth does not tie [compared pairs].

    ``delta``: the better one's value less the worse one's, rounded as pairing rounds it; NaN where one has none.
    ``agree``: 1 where the rating orders the pair as the truth does, 0 where it turns it, 0.5 for a tie or no value.
    """

    delta: Numbers
    agree: Numbers

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.isfinite(self.delta)


def compare(values: Numbers, pairs: Pairs) -> Compared:
    """``values``: one for each completion, NaN where there is none."""
    kept = pairs.compared
    delta = np.round(values[pairs.better[kept]] - values[pairs.worse[kept]], DECIMALS)
    return Compared(delta, np.where(np.isfinite(delta), (np.sign(delta) + 1) / 2, 0.5))


def sums(columns: Mapping[str, Column], prompt: NDArray[np.int64], prompts: int) -> Sums:
    """The sums of columns [pairs], and of the prompts drawn in each resample."""
    by_prompt = {name: _by_prompt(column, prompt, prompts)[None] for name, column in columns.items()}
    return intervals.pigeonhole(by_prompt, SEED, RESAMPLES)


def _by_prompt(column: Column, prompt: NDArray[np.int64], prompts: int) -> Numbers:
    return np.bincount(prompt, column.astype(np.float64), prompts).astype(np.float64)


def means(
    wanted: Mapping[str, tuple[Numbers, NDArray[np.bool_]]], prompt: NDArray[np.int64], prompts: int
) -> dict[str, Estimate]:
    """By name the mean of values [pairs] over the pairs of a mask [pairs]; all in one resampling."""
    columns: dict[str, Column] = {}
    for name, (values, which) in wanted.items():
        columns |= {f"sum {name}": np.where(which, values, 0.0), f"n {name}": which}
    found = sums(columns, prompt, prompts) if columns else None
    return {name: found.ratio(f"sum {name}", f"n {name}") for name in wanted} if found else {}


def tau_b(values: Numbers, pairs: Pairs) -> Estimate:
    """Kendall's tau-b over pairs of completions of one prompt, pooled over prompts.

    (C - D) / sqrt((C + D + T) (C + D + U)): pairs in the same order C and in the other order D, T tied by the rating
    alone, U tied by the truth alone. For a single prompt with gold ratings it is scipy.stats.kendalltau.
    """
    delta = np.round(values[pairs.better] - values[pairs.worse], DECIMALS)
    sign, untied = np.nan_to_num(np.sign(delta)), pairs.compared
    rated = np.isfinite(delta)
    columns = {"score": sign * untied, "by_truth": rated & untied, "by_rating": sign != 0}
    found = sums(columns, pairs.prompt, pairs.prompts)
    return found.estimate(lambda s: s["score"] / np.sqrt(s["by_truth"] * s["by_rating"]))


def auc(values: Numbers, pairs: Pairs) -> Estimate:
    """The probability that a preferred completion is rated above one that is not, of any prompt; ties count half.

    Each compared pair gives one value to either side, so prompts with more pairs weigh more (sklearn's roc_auc_score
    of these values). The resamples are linear in the placement values of DeLong et al. (1988): a value's share of the
    other side that it beats, summed by prompt as in Obuchowski (1997) for clustered data.
    """
    better, worse = values[pairs.better[pairs.compared]], values[pairs.worse[pairs.compared]]
    known = np.isfinite(better) & np.isfinite(worse)
    beats, beaten = np.zeros(len(better)), np.zeros(len(better))
    if known.any():
        beats[known] = _below(better[known], worse[known])
        beaten[known] = 1 - _below(worse[known], better[known])
    found = sums({"beats": beats, "beaten": beaten, "n": known}, pairs.prompt[pairs.compared], pairs.prompts)
    value = float(found.ratio("beats", "n").value)
    return found.estimate(lambda s: (s["beats"] + s["beaten"]) / s["n"] - value)


def _below(values: Numbers, others: Numbers) -> Numbers:
    """The share of ``others`` that is below each of ``values``, equals counted half."""
    distinct, place = np.unique(values, return_inverse=True)
    ordered = np.sort(others)
    below = np.searchsorted(ordered, distinct, "left") + np.searchsorted(ordered, distinct, "right")
    shares: Numbers = below[place] / (2 * len(others))
    return shares
