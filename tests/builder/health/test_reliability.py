"""Agreement of repeated judgements against the examples that the statistics were published with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from builder.health import reliability

NONE = np.nan
# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), C: four observers, twelve units.
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
        [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
    ]
)
# Shrout and Fleiss, "Intraclass correlations" (1979), table 2: six targets, four judges.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], np.float64
).T
SCORES = arrays(np.float64, (3, 8), elements=st.integers(1, 10).map(float))


def test_alpha_equals_the_published_example() -> None:
    assert reliability.alpha(KRIPPENDORFF) == pytest.approx(0.849, abs=5e-4)
    assert reliability.alpha(KRIPPENDORFF, "ordinal") == pytest.approx(0.815, abs=5e-4)


def test_icc_equals_the_published_example() -> None:
    assert reliability.icc1(SHROUT_FLEISS) == pytest.approx(0.17, abs=5e-3)
    assert reliability.icc2(SHROUT_FLEISS) == pytest.approx(0.29, abs=5e-3)


def pairwise(ratings: np.ndarray) -> float | None:
    """Alpha by its definition, over all pairs of values."""
    units = [column[np.isfinite(column)] for column in ratings.T]
    units = [unit for unit in units if len(unit) > 1]
    values = np.concatenate([np.empty(0), *units])

    def apart(a: np.ndarray) -> float:
        return float(((a[:, None] - a[None, :]) ** 2).sum())

    expected = apart(values) / max(len(values) - 1, 1)
    return 1 - sum(apart(unit) / (len(unit) - 1) for unit in units) / expected if expected else None


@given(SCORES, arrays(np.bool_, (3, 8)))
def test_alpha_is_its_definition_whatever_is_missing(scores: np.ndarray, missing: np.ndarray) -> None:
    ratings = np.where(missing, NONE, scores)
    found = reliability.alpha(ratings)
    assert found == pytest.approx(pairwise(ratings), abs=1e-9)


@given(SCORES)
def test_what_is_repeated_exactly_is_perfect(scores: np.ndarray) -> None:
    same = np.tile(scores[0], (3, 1))
    for figure in (reliability.alpha, reliability.icc1, reliability.icc2):
        assert figure(same) in (None, pytest.approx(1.0))


def test_a_unit_rated_once_says_nothing() -> None:
    with_one = np.column_stack([SHROUT_FLEISS, [3, NONE, NONE, NONE]])
    for figure in (reliability.alpha, reliability.icc1, reliability.icc2):
        assert figure(with_one) == pytest.approx(figure(SHROUT_FLEISS))


def test_without_repetition_there_is_no_figure() -> None:
    for ratings in (np.empty((0, 0)), np.array([[1.0, 2.0, 3.0]]), np.full((2, 4), 7.0)):
        assert reliability.alpha(ratings) is None
        assert reliability.icc2(ratings) is None
        assert reliability.icc1(ratings) is None
