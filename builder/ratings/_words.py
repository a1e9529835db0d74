"""Words and pairs of neighbouring words as a sparse matrix: what linear models of judges' texts read."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WORD = r"\w+(?:['’]\w+)*"
LEAST = 3
"""Texts that hold a word or pair: what fewer hold tells nothing of the others."""


MERGED = 1 << 20
"""Words and pairs that are counted before they are put to those that are known."""

Features = NDArray[np.uint64]


def matrix(texts: pl.Series) -> "csr_matrix":
    """``Weights.matrix`` of the texts that the weights are taken from."""
    counts = Counts()
    counts.add(texts)
    return counts.weights().matrix(texts)


class Counts:
    """How many texts hold each word or pair, of texts that come in blocks. Held are 12 bytes for each."""

    def __init__(self) -> None:
        self.texts, self.waiting = 0, list[tuple[Features, NDArray[np.int64]]]()
        self.known, self.held = np.empty(0, np.uint64), np.empty(0, np.uint32)

    def add(self, texts: pl.Series) -> None:
        """Further texts; null holds nothing."""
        row, feature = features(texts)
        known, column = np.unique(feature, return_inverse=True)
        once = np.unique(row * len(known) + column) % max(len(known), 1)
        self.texts += len(texts)
        self.waiting.append((known, np.bincount(once, minlength=len(known))))
        if sum(len(found) for found, _ in self.waiting) > max(MERGED, len(self.known) // 4):
            self._merge()

    def weights(self) -> "Weights":
        """By all texts so far."""
        self._merge()
        kept = self.held >= LEAST
        return Weights(self.known[kept], np.log((1 + self.texts) / (1 + self.held[kept].astype(np.int64))) + 1)

    def _merge(self) -> None:
        found = np.concatenate([np.empty(0, np.uint64), *(known for known, _ in self.waiting)])
        counts = np.concatenate([np.empty(0, np.int64), *(held for _, held in self.waiting)])
        self.waiting = []
        found, place = np.unique(found, return_inverse=True)
        counts = np.bincount(place, counts, minlength=len(found)).astype(np.uint32)
        place, there = _places(self.known, found)
        self.held[place[there]] += counts[there]
        self.known = np.insert(self.known, place[~there], found[~there])
        self.held = np.insert(self.held, place[~there], counts[~there])


class Weights:
    """Words and pairs that count, sorted by their 64 bits, and the rarity of each.

    Rarity is log((1 + texts) / (1 + texts with it)) + 1, as scikit-learn's smooth idf.
    """

    def __init__(self, known: Features, rarity: NDArray[np.float64]) -> None:
        self.known, self.rarity = known, rarity

    def matrix(self, texts: pl.Series) -> "csr_matrix":
        """[texts, words and pairs] float32: 1 + log(count), times its rarity, rows of length 1 (sublinear tf-idf).

        A text without any known word is a row of zeros.
        """
        from scipy.sparse import csr_matrix, diags_array

        row, feature = features(texts)
        column, there = _places(self.known, feature)
        count_of = row[there] * len(self.known) + column[there]
        cell, count = np.unique(count_of, return_counts=True)
        row, column = np.divmod(cell, max(len(self.known), 1))
        values = (1 + np.log(count)) * self.rarity[column]
        found = csr_matrix((values, (row, column)), shape=(len(texts), len(self.known)))
        lengths = np.sqrt(np.asarray(found.multiply(found).sum(axis=1)).ravel())
        return csr_matrix(diags_array(1 / np.where(lengths > 0, lengths, 1)) @ found).astype(np.float32)


def _places(known: Features, asked: Features) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each stands among ``known``, which are sorted, and whether it does."""
    place = np.searchsorted(known, asked)
    if not len(known):
        return place, np.zeros(len(asked), np.bool_)
    return place, known[np.minimum(place, len(known) - 1)] == asked


def features(texts: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """The text (its place) and 64 bits of each word and of each pair of neighbouring words, one entry each time."""
    words = texts.fill_null("").str.to_lowercase().str.extract_all(WORD)
    row = np.repeat(np.arange(len(texts)), words.list.len().to_numpy())
    hashed = _hashed(words.explode().drop_nulls())
    following = row[1:] == row[:-1]
    pairs = (hashed[:-1] * np.uint64(0x9E3779B97F4A7C15) ^ hashed[1:])[following]
    return np.concatenate([row, row[:-1][following]]), np.concatenate([hashed, pairs])


def _hashed(words: pl.Series) -> NDArray[np.uint64]:
    """64 bits of each word, the same on every machine and under every version of a library."""
    known = words.unique().sort()
    digests = b"".join(hashlib.blake2b(word.encode(), digest_size=8).digest() for word in known)
    bits: NDArray[np.uint64] = np.frombuffer(digests, "<u8").astype(np.uint64)[known.search_sorted(words).to_numpy()]
    return bits
