"""The themes of what runs are missing: which there are, what they are called, how often each run has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from analysis.themes import cluster, names, said
from analysis.themes.cluster import Labels
from analysis.themes.said import Keys
from builder.neighbours import Floats, units

TRAINED = 20_000
"""Distinct texts that k-means is trained on at most, drawn at random; all texts are then assigned."""
NAMED = 2_000
"""Distinct texts of a theme that its name is drawn from at most."""
EXAMPLES = 3


@dataclass(frozen=True)
class Theme:
    """``counts``: judgements of each run, in the order of the runs. ``examples``: the texts nearest to the middle."""

    phrases: tuple[str, ...]
    counts: tuple[int, ...]
    examples: tuple[str, ...]

    @property
    def name(self) -> str:
        return ", ".join(self.phrases) or "(no words)"

    @property
    def judgements(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True)
class Themes:
    """Of runs with the same embedder; the theme of most judgements comes first.

    ``judged``: for each run ``completion``, ``judgement`` (said.keys) and ``theme`` (a place in ``themes``; null
    without a vector). ``texts``: distinct ones; ``trained``: those of them that k-means was trained on.
    """

    themes: tuple[Theme, ...]
    judged: tuple[pl.DataFrame, ...]
    texts: int
    trained: int


def find(runs: Sequence[Path], seed: int = 0, count: int | None = None) -> Themes | None:
    """The themes of run folders whose vectors are of one embedder; None where no text that says something has one.

    ``count``: how many themes, by default as many as cluster.number_of says. In memory are the vectors of ``TRAINED``
    texts, some numbers for each judgement, and no other text. Raises ImportError where FAISS is not installed.
    """
    told = [said.keys(run) for run in runs]
    keys, times = np.unique(np.concatenate([frame["key"].to_numpy() for frame in told]), return_counts=True)
    drawn, sample = _sample(runs, keys, seed)
    if not len(drawn):
        return None
    count = min(count or cluster.number_of(len(keys)), len(drawn))
    weights = times[np.searchsorted(keys, drawn)].astype(np.float32)
    labels, near = _assign(runs, keys, cluster.centres(sample, weights, count, seed))
    labels = _by_size(labels, times, count)
    judged = tuple(
        frame.select("completion", "judgement", _theme(frame["key"].to_numpy(), keys, labels)) for frame in told
    )
    counts = np.stack(
        [np.bincount(frame["theme"].drop_nulls().to_numpy(), minlength=count) for frame in judged], axis=1
    )
    words = _words(runs, keys, labels, near, seed)
    phrases = names.phrases([texts for texts, _ in words])
    themes = tuple(
        Theme(tuple(of), tuple(counts[place].tolist()), tuple(words[place][1]))
        for place, of in enumerate(phrases)
        if counts[place].sum()
    )
    return Themes(themes, judged, len(keys), len(drawn))


def _sample(runs: Sequence[Path], keys: Keys, seed: int) -> tuple[Keys, Floats]:
    """Up to ``TRAINED`` of the keys, sorted, and their vectors, of length 1; those without a direction are left out."""
    wanted = np.sort(np.random.default_rng(seed).permutation(keys)[:TRAINED])
    found: dict[int, Floats] = {}
    for run in runs:
        left = wanted[~np.isin(wanted, np.fromiter(found, np.uint64, len(found)))]
        for there, vectors in said.vectors(run, left) if len(left) else ():
            rows = units(vectors)
            found |= {int(key): row for key, row in zip(there, rows, strict=True) if row.any()}
    drawn = np.sort(np.fromiter(found, np.uint64, len(found)))
    return drawn, np.stack([found[int(key)] for key in drawn]) if len(drawn) else np.empty((0, 1), np.float32)


def _assign(runs: Sequence[Path], keys: Keys, middles: Floats) -> tuple[Labels, Floats]:
    """The group of each key and its cosine with the group's middle; NONE for a text without a vector."""
    labels, near = np.full(len(keys), cluster.NONE, np.int16), np.full(len(keys), -1, np.float32)
    for run in runs:
        for there, vectors in said.vectors(run, keys):
            place = np.searchsorted(keys, there)
            labels[place], near[place] = cluster.nearest(vectors, middles)
    return labels, near


def _by_size(labels: Labels, times: Labels, count: int) -> Labels:
    """The same groups, numbered by how many judgements each has, most first."""
    sizes = np.bincount(labels[labels >= 0], weights=times[labels >= 0], minlength=count)
    rank = np.empty(count, np.int16)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(count)
    return np.where(labels >= 0, rank[labels], np.int16(cluster.NONE))


def _theme(own: Keys, keys: Keys, labels: Labels) -> pl.Series:
    found = labels[np.searchsorted(keys, own)]
    return pl.Series("theme", np.where(found >= 0, found, -1), pl.Int16).replace(-1, None)


def _words(
    runs: Sequence[Path], keys: Keys, labels: Labels, near: Floats, seed: int
) -> list[tuple[list[str], list[str]]]:
    """For each group texts to name it by, and its examples."""
    order = np.random.default_rng([seed, 1]).permutation(len(keys))
    groups = [order[labels[order] == group] for group in range(int(labels.max()) + 1)]
    naming = [np.sort(group[:NAMED]) for group in groups]
    shown = [group[np.lexsort((keys[group], -near[group]))][:EXAMPLES] for group in groups]
    wanted = keys[np.unique(np.concatenate([*naming, *shown]))]
    texts = pl.concat([said.texts(run, wanted) for run in runs]).unique("key").sort("key")

    def read(places: Labels) -> list[str]:
        found: list[str] = texts["text"].gather(texts["key"].search_sorted(keys[places])).to_list()
        return found

    return [(read(name), read(show)) for name, show in zip(naming, shown, strict=True)]
