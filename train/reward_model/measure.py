"""How well the rewards of held-out pairs tell which completion is preferred: numpy, and no model."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
BINS = 10


def accuracy(difference: Numbers) -> float:
    """Share of the pairs whose chosen completion has the higher reward; equal rewards count half."""
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def nll(difference: Numbers) -> float:
    """Mean of -log sigmoid(difference), in nats: how unlikely the preferences are to the model.

    For every loss here sigmoid(difference) is that the chosen one is preferred: Bradley-Terry says so, in Luce's
    choice of one in a list it follows, and in a cumulative-link model with thresholds symmetric around 0 it is the
    chance that the latent preference is on its side.
    """
    return float(np.mean(np.logaddexp(0, -difference)))


def calibration_error(difference: Numbers) -> float:
    """Expected calibration error (Guo et al., 2017) of the preferred side, in [0, 1]: 1 if all is wrong and certain.

    Confidence sigmoid(|difference|) in BINS bins of equal width from 0.5 to 1; equal rewards are right by half.
    """
    confidence = 1 / (1 + np.exp(-np.abs(difference)))
    right = (difference > 0) + 0.5 * (difference == 0)
    place = np.minimum(((confidence - 0.5) * 2 * BINS).astype(np.int64), BINS - 1)
    off = np.bincount(place, weights=right - confidence, minlength=BINS)
    return float(np.abs(off).sum() / len(difference))
