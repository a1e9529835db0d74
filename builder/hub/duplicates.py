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
    names, chosen = _places(prompts(), few)
    texts = lambda: (text for block in prompts() for text in block["text"])  # noqa: E731
    stored = embed.streamed(texts, len(chosen), embedder, "near duplicates")
    place = np.where(chosen, np.cumsum(chosen) - 1, -1)
    blocks = lambda: (units_of(table) for table in stored.blocks(embed.WINDOW, ["embedding"]))  # noqa: E731
    beside, pairs = _near(blocks, place)
    return pl.Series("prompt_id", names, pl.String).filter(pl.Series(_spread(beside, pairs))).unique().sort()


def _places(prompts: Iterator[pl.DataFrame], few: pl.Series) -> tuple[list[str], NDArray[np.bool_]]:
    """The ids of the rows that hold one of the few, and for every row whether it does."""
    names, chosen = list[str](), [np.empty(0, np.bool_)]
    for block in prompts:
        own = block["prompt_id"].is_in(few.implode())
        names += block["prompt_id"].filter(own).to_list()
        chosen.append(own.to_numpy())
    return names, np.concatenate(chosen)


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
