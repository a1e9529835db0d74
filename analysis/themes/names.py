"""What groups of texts are called: the words and pairs of words that are typical of each."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BREAK = re.compile(r"[.,;:!?()\[\]{}<>\"“”„«»\n]+")
WORD = re.compile(r"[^\W\d_](?:[^\W_]|['’-](?=[^\W_]))+")
PHRASES = 3
HOLDING = {"did", "didn't", "didn’t", "does", "doesn't", "doesn’t", "don't", "don’t", "isn't", "isn’t"}
"""Words that scikit-learn's list of those that only hold a sentence together lacks, and feedback is full of."""


def phrases(groups: Sequence[Sequence[str]], count: int = PHRASES) -> list[list[str]]:
    """Up to ``count`` phrases for each group, the most typical first, no word twice; none of a group without words.

    A phrase weighs p log(p / q), where p is the share of the group's texts that hold it and q that of all texts: what
    it adds to the Kullback-Leibler divergence of the group from the whole. As in class-based tf-idf (Grootendorst,
    "BERTopic", 2022) each group counts as one document, but a word that is everywhere weighs nothing. Words that only
    hold a sentence together (scikit-learn's English list and ``HOLDING``) are left out, and with
    them every pair that has one.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    texts = [text for group in groups for text in group]
    try:
        counter = CountVectorizer(analyzer=lambda text: set(_said(text)))
        held = counter.fit_transform(texts)
    except ValueError:  # no text holds a word
        return [[] for _ in groups]
    known = counter.get_feature_names_out()
    ends = np.cumsum([0, *map(len, groups)])
    counts = np.stack([np.asarray(held[a:b].sum(axis=0)).ravel() for a, b in pairwise(ends)])
    scores = _scores(counts.astype(np.float64), np.diff(ends))
    return [_best(known, row, count) for row in scores]


def _scores(held: NDArray[np.float64], texts: NDArray[np.int64]) -> NDArray[np.float64]:
    """[groups, phrases] from the number of texts that hold a phrase, by group; ``texts``: how many a group has."""
    inside, everywhere = held / np.maximum(texts, 1)[:, None], held.sum(axis=0) / texts.sum()
    if len(held) == 1:  # nobody to be told from
        return np.asarray(inside)
    scores: NDArray[np.float64] = inside * np.log(np.maximum(inside, 1e-12) / everywhere)
    return scores


def _best(known: NDArray[np.str_], scores: NDArray[np.float64], count: int) -> list[str]:
    """The phrases of the highest scores (ties by the alphabet) that share no word with one before."""
    taken: list[str] = []
    words: set[str] = set()
    for index in np.lexsort((known, -scores)):
        phrase = str(known[index])
        if len(taken) == count or scores[index] <= 0:
            break
        if words.isdisjoint(phrase.split()):
            taken.append(phrase)
            words.update(phrase.split())
    return taken


def _said(text: str) -> Iterator[str]:
    """The words and the pairs of neighbouring words of a text, in small letters; no pair across a comma or stop."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    for part in BREAK.split(text.lower()):
        words = WORD.findall(part)
        telling = [word not in ENGLISH_STOP_WORDS and word not in HOLDING for word in words]
        for place, word in enumerate(words):
            if telling[place]:
                yield word
                if place and telling[place - 1]:
                    yield f"{words[place - 1]} {word}"
