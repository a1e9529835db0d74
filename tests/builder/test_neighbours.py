"""Near vectors against all cosines, whichever index finds them."""

from collections.abc import Iterator

import numpy as np
import pytest

from builder import neighbours
from builder.neighbours import Floats, Index


def drawn(rows: int, near: int = 0, seed: int = 0) -> Floats:
    """Rows in groups of directions; the first ``near`` of each hundred nearly repeat the row before them."""
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(rows, 16)).astype(np.float32)
    for row in range(1, rows):
        if row % 100 < near:
            vectors[row] = vectors[row - 1] + draw.normal(size=16) * 0.05
    return neighbours.units(vectors)


def expected(rows: Floats, queries: Floats, least: float) -> list[tuple[int, int]]:
    return sorted(zip(*(each.tolist() for each in np.nonzero(queries @ rows.T > least)), strict=True))


def recall(index: Index, rows: Floats, queries: Floats, least: float) -> float | None:
    """The share of the pairs of ``queries`` and ``rows`` near each other that ``index`` finds; None if none are."""
    pairs = set(expected(rows, queries, least))
    query, row, _ = index.near(queries, least)
    return len(pairs & set(zip(query.tolist(), row.tolist(), strict=True))) / len(pairs) if pairs else None


@pytest.fixture(params=["in range", "most near", "cells"])
def index(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The search that GPUs offer is asked of the CPU here, where there is no GPU."""
    if request.param == "cells":
        monkeypatch.setattr(neighbours, "EXACT", 100)
        monkeypatch.setattr(neighbours, "CELLS_LOOKED_AT", 1.0)
    made = Index(drawn(4000, near=90))
    made.on_gpu = request.param == "most near"
    return made


def test_near_rows_are_those_of_all_cosines(index: Index) -> None:
    rows = drawn(4000, near=90)
    query, row, cosine = index.near(rows[:300], 0.9)
    assert list(zip(query.tolist(), row.tolist(), strict=True)) == expected(rows, rows[:300], 0.9)
    assert len(query) > 1000
    np.testing.assert_allclose(cosine, np.einsum("ij,ij->i", rows[query], rows[row]), atol=1e-6)
    assert recall(index, rows, rows[:300], 0.9) == 1.0


def test_more_neighbours_than_are_asked_for_at_once_are_all_found() -> None:
    rows = np.repeat(drawn(1), 700, axis=0)
    made = Index(rows)
    made.on_gpu = True
    assert len(made.near(rows[:2])[0]) == 1400


def test_cells_that_are_not_looked_at_cost_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "EXACT", 100)
    monkeypatch.setattr(neighbours, "CELLS_LOOKED_AT", 0.01)
    rows = drawn(4000)
    found = recall(Index(rows), rows, drawn(200, seed=1), 0.5)
    assert found is not None
    assert 0 < found < 0.9


def test_nothing_is_near_nothing() -> None:
    rows = drawn(10)
    assert recall(Index(rows), rows, -rows[:1], 0.99) is None
    assert [len(each) for each in Index(rows[:0]).near(rows)] == [0, 0, 0]
    assert [len(each) for each in Index(rows).near(np.zeros((3, 16), np.float32))] == [0, 0, 0]
