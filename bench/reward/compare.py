"""All losses on the same splits of one data set: what each makes of the prompts that are held out."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from bench.reward import learn
from bench.reward.graded import Graded, Numbers, Places
from bench.reward.learn import Fitted
from train.reward_model import losses, measure

HELD_OUT = 0.2
LABELS = "labels"
"""The reference that is what was learned from."""


class Row(NamedTuple):
    """One number: of a split (``seed``), a ``share`` of the prompts that are learned from, a loss."""

    seed: int
    share: float
    loss: str
    reference: str
    measure: str
    value: float


class Split(NamedTuple):
    """Prompts to learn from, in the order in which a share of them is taken, and those held out."""

    learned: Places
    held: Places


def split(data: Graded, seed: int) -> Split:
    """By chance; the same whatever the loss."""
    order = np.random.default_rng(seed).permutation(int(data.prompt.max()) + 1)
    count = max(1, round(HELD_OUT * len(order)))
    return Split(order[count:], order[:count])


def compared(data: Graded, seed: int, shares: Sequence[float]) -> Iterator[Row]:
    """Every measure of every loss on one split. Grades are cut alike at every share."""
    learned, held = split(data, seed)
    cuts = learn.cuts_of(data, learned)
    for share in shares:
        some = learned[: max(learn.FOLDS, round(share * len(learned)))]
        for loss in (*learn.LOSSES, learn.LENGTH):
            penalty = learn.penalty_for(data, some, loss, cuts)
            yield Row(seed, share, loss, LABELS, "penalty", penalty)
            found = learn.fitted(data, some, loss, cuts, penalty)
            for reference, name, value in measures(data, found, held, cuts):
                yield Row(seed, share, loss, reference, name, value)


def measures(data: Graded, found: Fitted, held: Places, cuts: tuple[float, ...]) -> Iterator[tuple[str, str, float]]:
    """Reference, measure and value, on the pairs of the prompts ``held``."""
    for name, delta in {LABELS: data.learned, **data.references}.items():
        difference = learn.preferred(data, found.reward, held, delta)
        yield name, "accuracy", measure.accuracy(difference)
        yield name, "nll", measure.nll(difference)
        yield name, "calibration", measure.calibration_error(difference)
        yield name, "tau", tau_b(data, found.reward, held, delta)
    yield LABELS, "graded_nll", graded_nll(data, found, held, cuts)


def tau_b(data: Graded, reward: Numbers, prompts: Places, delta: Numbers) -> float:
    """Kendall's tau-b of rewards and reference over the pairs of a list, the mean of the lists the reference orders."""
    own = np.isin(data.prompt_of_pair, prompts) & np.isfinite(delta)
    signs = np.sign(reward[data.first] - reward[data.second])[own], np.sign(delta[own])
    lists = data.list_of[data.first][own]
    agreed, by_reward, by_reference = (
        np.bincount(lists, sums) for sums in (signs[0] * signs[1], signs[0] ** 2, signs[1] ** 2)
    )
    ordered = by_reference > 0
    return float(np.mean((agreed / np.sqrt(np.maximum(by_reward, 1) * np.maximum(by_reference, 1)))[ordered]))


def graded_nll(data: Graded, found: Fitted, held: Places, cuts: tuple[float, ...]) -> float:
    """Mean of -log P(grade) of held-out labels, in nats."""
    rows, batch = learn.examples(data, held, "ordinal_nll", cuts)
    reward = torch.from_numpy(found.reward[rows])
    return float(losses.of_batch("ordinal_nll", reward, batch, found.thresholds).mean())
