"""Feedback that quotes the completion: the cosine of the two then measures the quotation."""

from typing import Any

import numpy as np
import polars as pl

from builder.ratings._words import WORD

RUN = 8
"""Words in a row. Names and set phrases are shorter; eight words in a row are hardly ever met by chance."""


def quoting(feedback: pl.Series, completions: pl.Series) -> dict[str, Any]:
    """``share``: of the texts, those that share RUN words in a row with the completion they are about.

    ``words``: the part of the words of such a text that stands in these runs, the median.
    """
    pairs = zip(_words(feedback), _words(completions), strict=True)
    parts = np.array([_quoted(said, f" {' '.join(completion)} ") for said, completion in pairs])
    quoted = parts[parts > 0]
    return {
        "share": round(len(quoted) / len(parts), 6) if len(parts) else None,
        "words": round(float(np.median(quoted)), 6) if len(quoted) else None,
        "n": len(parts),
    }


def _words(texts: pl.Series) -> list[list[str]]:
    words: list[list[str]] = texts.fill_null("").str.to_lowercase().str.extract_all(WORD).to_list()
    return words


def _quoted(words: list[str], completion: str) -> float:
    """The part of ``words`` that stands in runs which the completion holds."""
    covered = np.zeros(len(words), bool)
    for start in range(len(words) - RUN + 1):
        if f" {' '.join(words[start : start + RUN])} " in completion:
            covered[start : start + RUN] = True
    return float(covered.mean()) if len(words) else 0.0
