"""How much each theme decides, and how well a few of them alone foretell the labels.

As in inverse constitutional AI (Findeis et al., 2025, arXiv:2406.06560) preferences are explained by a short list of
principles, here by what feedback asks for again and again. The themes are found without the labels; which of them are
taken, and how they weigh, is learned without the prompts that are foretold.
"""

from dataclasses import dataclass

import numpy as np

from analysis.audit.combine import weights
from analysis.intervals import Estimate, Numbers, pigeonhole
from analysis.themes.labels import Labels

FOLDS = 10


@dataclass(frozen=True)
class Decides:
    """``pairs``: those of which one side alone has the theme, or more of its judges say so. ``rejected``: the share of
    these in which that side was rejected. ``weight``: log-odds of being rejected, the other themes held equal.
    """

    pairs: int
    rejected: Estimate
    weight: float


def decides(labels: Labels) -> list[Decides]:
    """Of each theme, and of nothing being missing."""
    fitted = weights(labels.missing)
    return [
        Decides(
            int(np.count_nonzero(column)),
            _share((column > 0).astype(np.float64), (column != 0).astype(np.float64), labels),
            float(weight),
        )
        for column, weight in zip(labels.missing.T, fitted, strict=True)
    ]


def foretold(labels: Labels, most: int, seed: int) -> dict[int, Estimate]:
    """By how many themes are taken, up to ``most``: the share of held-out pairs that they order as the labels do.

    A pair that they do not tell apart counts half. Cross-validated by prompt; the themes are chosen anew in each fold,
    those first that weigh most on the pairs there.
    """
    fold = np.random.default_rng(seed).permutation(labels.prompts)[labels.prompt] % FOLDS
    counts = range(1, min(most, labels.missing.shape[1]) + 1)
    margins = {count: np.zeros(len(fold)) for count in counts}
    for each in range(FOLDS):
        test = fold == each
        train = labels.missing[~test]
        if not test.any() or not len(train):  # of one prompt nothing can be held out
            continue
        order = np.argsort(-np.abs(weights(train)) * train.std(axis=0), kind="stable")
        for count in counts:
            taken = order[:count]
            margins[count][test] = labels.missing[test][:, taken] @ weights(train[:, taken])
    every = np.ones(len(fold))
    return {count: _share((np.sign(margin) + 1) / 2, every, labels) for count, margin in margins.items()}


def _share(part: Numbers, whole: Numbers, labels: Labels) -> Estimate:
    """Of the pairs that are ``whole`` [pairs] those that are ``part``, with an interval over prompts."""
    columns = {"part": part * whole, "whole": whole}
    sums: dict[str, Numbers] = {
        name: np.bincount(labels.prompt, column, labels.prompts).astype(np.float64)[None]
        for name, column in columns.items()
    }
    return pigeonhole(sums).ratio("part", "whole")
