"""Groups of vectors by direction: spherical k-means (FAISS)."""

import math

import numpy as np
from numpy.typing import NDArray

from builder.neighbours import Floats, units

Labels = NDArray[np.integer]

MOST = 12
"""Themes that a reader takes in."""
ITERATIONS, STARTS = 25, 3
NONE = -1
"""The label of a vector without a direction."""


def number_of(texts: int) -> int:
    """How many groups to make of so many distinct texts: the rule of thumb sqrt(n / 2), ``MOST`` at most."""
    return min(max(round(math.sqrt(texts / 2)), 1), MOST)


def centres(sample: Floats, weights: Floats, count: int, seed: int) -> Floats:
    """[count, d], of length 1: the best of ``STARTS`` k-means of ``sample`` [n, d], rows of length 1, n >= count.

    ``weights`` [n] says how often each row stands. Raises ImportError where FAISS is not installed.
    """
    import faiss

    means = faiss.Kmeans(
        sample.shape[1],
        count,
        niter=ITERATIONS,
        nredo=STARTS,
        seed=seed % 2**31,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=len(sample),
    )
    means.train(np.ascontiguousarray(sample), weights=np.ascontiguousarray(weights))
    return units(np.asarray(means.centroids, np.float32))


def nearest(vectors: Floats, middles: Floats) -> tuple[Labels, Floats]:
    """The row of ``middles`` that each vector [n, d] is nearest to, and the cosine; NONE where it has no direction."""
    rows = units(vectors)
    cosines = rows @ middles.T
    labels = cosines.argmax(axis=1)
    found = np.take_along_axis(cosines, labels[:, None], axis=1)[:, 0]
    return np.where(rows.any(axis=1), labels, NONE), found
