"""Near duplicates of a few prompts among many, by FAISS on their embeddings, in bounded memory."""

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder import embed, neighbours
from builder.errors import WimError
from builder.neighbours import Floats, Index, units_of
from builder.params import Embed


def beside_others(prompts: Callable[[], Iterator[pl.DataFrame]], few: pl.Series, embedder: Embed) -> pl.Series:
    """Those of the prompt ids ``few`` that cannot be parted from the other prompts.

    They are near (builder.neighbours.NEAR) one of the others, or near one of the few that is. ``prompts`` gives
    all of them anew, prompt_id and text in blocks. Raises WimError where FAISS is not installed.
    """
    if few.is_empty():
        return few
    _check_installed()
    names = pl.concat(block["prompt_id"] for block in prompts())
    texts = lambda: (text for block in prompts() for text in block["text"])  # noqa: E731
    stored = embed.streamed(texts, len(names), embedder, "near duplicates")
    place = np.full(len(names), -1)
    chosen = np.flatnonzero(names.is_in(few.implode()).to_numpy())
    place[chosen] = np.arange(len(chosen))
    blocks = lambda: (units_of(table) for table in stored.blocks(embed.WINDOW, ["embedding"]))  # noqa: E731
    beside, pairs = _near(blocks, place)
    return names.gather(chosen[_spread(beside, pairs)]).unique().sort()


def _check_installed() -> None:
    """Before all prompts are embedded for it."""
    try:
        neighbours.library()
    except WimError as error:
        raise WimError(f"publish: {error}; publish.test: 0 makes no split") from error


def _near(
    blocks: Callable[[], Iterator[Floats]], place: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """For each of the few whether one of the others is near it; [n, 2]: the few that are near each other.

    ``place``: for every row its number among the few, or -1.
    """
    index, start = Index(_few(blocks, place)), 0
    beside, pairs = np.zeros(index.size, np.bool_), [np.empty((0, 2), np.int64)]
    for vectors in blocks():
        query, found, _ = index.near(vectors)
        asking = place[start + query]
        beside[found[asking < 0]] = True
        pairs.append(np.stack([asking, found], axis=1)[asking >= 0])
        start += len(vectors)
    return beside, np.concatenate(pairs)


def _few(blocks: Callable[[], Iterator[Floats]], place: NDArray[np.int64]) -> Floats:
    start, taken = 0, []
    for vectors in blocks():
        taken.append(vectors[place[start : start + len(vectors)] >= 0])
        start += len(vectors)
    return np.concatenate(taken)


def _spread(beside: NDArray[np.bool_], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """What is beside the others, and whatever is near that."""
    while True:
        reached = beside.copy()
        reached[pairs[beside[pairs[:, 0]], 1]] = True
        if (reached == beside).all():
            return reached
        beside = reached
