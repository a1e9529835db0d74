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


def matrix(texts: pl.Series) -> "csr_matrix":
    """[texts, words and pairs] float32: 1 + log(count), times its rarity, rows of length 1 (sublinear tf-idf).

    Rarity is log((1 + texts) / (1 + texts with it)) + 1, as scikit-learn's smooth idf. A text without any known word
    is a row of zeros.
    """
    from scipy.sparse import csr_matrix, diags_array

    row, feature = features(texts)
    known, column = np.unique(feature, return_inverse=True)
    cell, count = np.unique(row * len(known) + column, return_counts=True)
    row, column = np.divmod(cell, max(len(known), 1))
    held = np.bincount(column, minlength=len(known))
    kept = held[column] >= LEAST
    row, column, count = row[kept], column[kept], count[kept]
    values = (1 + np.log(count)) * (np.log((1 + len(texts)) / (1 + held[column])) + 1)
    names, column = np.unique(column, return_inverse=True)
    found = csr_matrix((values, (row, column)), shape=(len(texts), len(names)))
    lengths = np.sqrt(np.asarray(found.multiply(found).sum(axis=1)).ravel())
    return csr_matrix(diags_array(1 / np.where(lengths > 0, lengths, 1)) @ found).astype(np.float32)


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
