"""The judge's words calibrated to its numbers: cross-fitting, words as a matrix, what is not enough to learn from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from builder import params, tables
from builder.ratings import _words, calibrated

Wim = Callable[..., int]
FLAWS = {"has a slight gap": 9, "lacks some detail": 7, "leaves out much": 5, "misses the question completely": 2}


def judgements(count: int, **more: Any) -> pl.DataFrame:
    flaws = list(FLAWS.items())
    said = [flaws[i % 4] for i in range(count)]
    columns = {
        "prompt_id": [f"p{i // 4}" for i in range(count)],
        "judge": ["judge"] * count,
        "feedback": [f"Answer {i} {text}." for i, (text, _) in enumerate(said)],
        "rating": [float(number) for _, number in said],
        "wim_status": ["missing"] * count,
    }
    return pl.DataFrame(columns | more)


def rate(frame: pl.DataFrame) -> pl.Series:
    return calibrated.Rating(params.load(None)).rate(frame, lambda texts: np.empty((len(texts), 1), np.float32))


def number(r: float) -> float:
    """The number on the scale from 1 to 10 of a centred one."""
    return 5.5 * (1 + r)


def test_words_get_the_number_that_they_come_with() -> None:
    found = [number(value) for value in rate(judgements(400))]
    for value, flaw in zip(found, list(FLAWS.values()) * 100, strict=True):
        assert value == pytest.approx(flaw, abs=0.5)


def test_a_judgements_own_number_does_not_enter_its_rating() -> None:
    frame = judgements(400)
    own = pl.when(pl.col("prompt_id") == "p7").then(10.0).otherwise("rating").alias("rating")
    before, after = rate(frame), rate(frame.with_columns(own))
    mine = frame["prompt_id"] == "p7"
    assert before.filter(mine).equals(after.filter(mine))
    assert not before.filter(~mine).equals(after.filter(~mine))


def test_a_judgement_without_a_number_is_rated_by_its_words() -> None:
    frame = judgements(400)
    frame = frame.with_columns(pl.when(pl.col("prompt_id") == "p3").then(None).otherwise("rating").alias("rating"))
    found = rate(frame).filter(frame["prompt_id"] == "p3")
    assert [round(number(value)) for value in found] == [9, 7, 5, 2]


def test_nothing_missing_is_the_top_of_the_scale_and_unreadable_is_none() -> None:
    statuses = ["nothing", "unreadable", "absent", *["missing"] * 397]
    feedback = ["", None, None, *judgements(400)["feedback"].to_list()[3:]]
    found = rate(judgements(400, wim_status=statuses, feedback=feedback))
    assert number(found[0]) == pytest.approx(10)
    assert found[1:3].to_list() == [None, None]
    assert found[3:].null_count() == 0


def test_each_judge_has_a_calibration_of_its_own() -> None:
    harsh = judgements(400, judge=["harsh"] * 400).with_columns(pl.col("rating") - 1)
    both = pl.concat([judgements(400), harsh])
    found = rate(both)
    assert found[:400].equals(rate(judgements(400)))
    assert float((found[:400] - found[400:]).mean() or 0) * 5.5 == pytest.approx(1, abs=0.05)


def test_too_few_numbers_are_told_and_never_guessed(wim: Wim, write_jsonl: Any) -> None:
    records = [
        {"prompt": f"Question {i // 2}?", "completion": f"Answer {i}.", "feedback": f"It lacks {i}.", "rating": 5}
        for i in range(8)
    ]
    assert wim("build", write_jsonl(records), "--out", "run", "--set", "rate.method=calibrated") == 0
    stats = tables.read_json(Path("run/stats.json"))
    assert stats["judgements"]["reasons"] == {"uncalibrated": 8}
    assert stats["pairs"] == 0


def test_the_matrix_is_that_of_scikit_learn() -> None:
    texts = [
        f"{a} {b} {a} it's the {c}" for a in ("red", "blue") for b in ("big", "small") for c in ("fox", "owl", "bee")
    ]
    ours = _words.matrix(pl.Series([*texts, None]))
    theirs = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=3, token_pattern=_words.WORD)
    wanted = theirs.fit_transform([*texts, ""])
    assert ours.shape == wanted.shape
    np.testing.assert_allclose((ours @ ours.T).toarray(), (wanted @ wanted.T).toarray(), atol=1e-6)
