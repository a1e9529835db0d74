"""The judge's words calibrated to the judge's own numbers: which number do words like these usually come with?

Ridge regression from the words and word pairs of what is missing to the number, for each judge of its own, fitted
anew without the prompts that it rates (cross-fitting, after Chernozhukov et al., "Double/debiased machine learning",
2018). No human label is read, and no judgement's own number enters its rating, so two completions with the same
number are told apart by what was said.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder.params import Params
from builder.ratings import Vectors, _words, numerical
from builder.statuses import Reason, WimStatus

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FOLDS = 10
PENALTY = 2.0
"""Of the ridge. From 1 to 10 the agreement hardly changes (docs/ratings.md)."""
LEAST = 40
"""Judgements with a number that a judge must have given: of fewer nothing is learned."""
MOST = 20_000
"""Judgements that one fit reads; more make it slower and no better."""

AT_ONCE = 2_048
"""Judgements whose words are at hand at once: of each word and pair some 100 bytes."""

READ = ("prompt_id", "judge", "feedback", "wim_status", "rating")
_last: dict[bytes, dict[str, "Model"]] = {}
_rated: list[tuple[dict[str, "Model"], float, bytes, pl.Series]] = []
"""What was learned of the latest judgements, and their numbers: the ratings that are made of this one ask for the same.
"""

Floats = NDArray[np.float64]
Frames = Callable[[], Iterator[pl.DataFrame]]
"""Some judgements at a time, anew at each call."""


class Rating:
    """What the number would be by the words, centred as R is; null where the judge has too few numbers to learn from.

    Where nothing is missing: R at the top of the scale.
    """

    uses = frozenset({"text"})
    together = learns = True
    null_reason = Reason.UNCALIBRATED

    def __init__(self, params: Params) -> None:
        self.top = params.rating.scale[1]
        self.numerical = numerical.Rating(params)
        self.models: dict[str, Model] | None = None

    def texts(self, judgements: pl.DataFrame) -> list[pl.Series]:
        del judgements
        return []

    def learn(self, frames: Frames) -> None:
        """As builder.ratings: ``frames`` gives the judgements that are rated later."""
        self.models = learnt(frames)

    def rate(self, judgements: pl.DataFrame, vectors: Vectors) -> pl.Series:
        del vectors
        models = learnt(lambda: iter([judgements])) if self.models is None else self.models
        return self.numerical.centred(_numbers(judgements, models, self.top)).alias("calibrated")


def _numbers(judgements: pl.DataFrame, models: dict[str, "Model"], top: float) -> pl.Series:
    """On the scale of the parameters, kept for who asks for those of the same judgements next."""
    told = judgements.select(READ).hash_rows().to_numpy().tobytes()
    if not _rated or _rated[0][0] is not models or _rated[0][1:3] != (top, told):
        _rated[:] = [(models, top, told, _predicted(judgements, models, top))]
    return _rated[0][3]


def _predicted(judgements: pl.DataFrame, models: dict[str, "Model"], top: float) -> pl.Series:
    found = np.where(judgements["wim_status"] == str(WimStatus.NOTHING), top, np.nan)
    for judge, row, rows in _by_judge(judgements):
        if judge in models:
            said = _is_said(rows)
            found[row[said]] = np.minimum(models[judge].predict(rows), top)[said]
    return pl.Series("rating", found).fill_nan(None)


class Model:
    """Which number one judge's words stand for, on the scale of the parameters; for each fold by the others."""

    def __init__(
        self, words: _words.Weights, used: NDArray[np.int32], fits: Mapping[int, tuple[Floats, float]]
    ) -> None:
        self.words, self.used, self.fits = words, used, fits

    def predict(self, rows: pl.DataFrame) -> Floats:
        """One for each judgement; NaN in a fold that there is no model for."""
        read, fold = self.words.matrix(_feedback(rows))[:, self.used], folds(rows["prompt_id"])
        found = np.full(len(rows), np.nan)
        for each, (weights, start) in self.fits.items():
            found[fold == each] = read[fold == each] @ weights + start
        return found


@dataclass(frozen=True)
class _Numbers:
    """Of one judge's judgements, in their order: the number, whether it is learned from, and the prompt's fold."""

    number: Floats
    learnt: NDArray[np.bool_]
    fold: NDArray[np.int8]

    def trained(self) -> dict[int, NDArray[np.int64]]:
        """By fold the judgements that its model is fitted on: at most ``MOST`` of those in the other folds."""
        found = {}
        for each in range(FOLDS):
            train = np.flatnonzero(self.learnt & (self.fold != each))
            if len(train) and (self.fold == each).any():
                found[each] = train[:: -(-len(train) // MOST)].copy()  # a view would keep all of them
        return found


def learnt(frames: Frames) -> dict[str, Model]:
    """A model of each judge that gave enough numbers to learn from.

    Held are 10 bytes for each judgement, 12 for each word or pair of neighbouring words, and the words of at most
    ``MOST`` judgements for each fold.
    """
    told, numbers = _look(frames)
    if told not in _last:
        numbers = {judge: of for judge, of in numbers.items() if of.learnt.sum() >= LEAST}
        models = _fitted(frames, numbers) if numbers else {}
        _last.clear()
        _last[told] = models
    return _last[told]


def _look(frames: Frames) -> tuple[bytes, dict[str, _Numbers]]:
    """What tells these judgements from others, and each judge's numbers."""
    every, found = hashlib.sha256(), dict[str, list[_Numbers]]()
    for frame in frames():
        every.update(frame.select(READ).hash_rows().to_numpy().tobytes())
        for judge, _, rows in _by_judge(frame):
            number = rows["rating"].to_numpy().astype(np.float64)
            fold = folds(rows["prompt_id"]).astype(np.int8)
            found.setdefault(judge, []).append(_Numbers(number, _is_said(rows) & np.isfinite(number), fold))
    return every.digest(), {judge: _joined(parts) for judge, parts in found.items()}


def _joined(parts: Sequence[_Numbers]) -> _Numbers:
    number, learnt, fold = zip(*((part.number, part.learnt, part.fold) for part in parts), strict=True)
    return _Numbers(np.concatenate(number), np.concatenate(learnt), np.concatenate(fold))


def _fitted(frames: Frames, numbers: Mapping[str, _Numbers]) -> dict[str, Model]:
    counts = {judge: _words.Counts() for judge in numbers}
    for frame in frames():
        for judge, _, rows in _by_judge(frame):
            if judge in counts:
                counts[judge].add(_feedback(rows))
    words = {judge: counts.pop(judge).weights() for judge in numbers}
    read = {judge: _Read(of, words[judge]) for judge, of in numbers.items()}
    for frame in frames():
        for judge, _, rows in _by_judge(frame):
            if judge in read:
                read[judge].add(_feedback(rows))
    return {judge: read.pop(judge).model() for judge in numbers}


class _Read:
    """The words of the judgements of one judge that some fold is fitted on."""

    def __init__(self, numbers: _Numbers, words: _words.Weights) -> None:
        self.numbers, self.words, self.trained = numbers, words, numbers.trained()
        self.rows = np.unique(np.concatenate([np.empty(0, np.int64), *self.trained.values()]))
        self.parts: list[csr_matrix] = []
        self.passed = 0

    def add(self, feedback: pl.Series) -> None:
        """The next judgements."""
        first, end = np.searchsorted(self.rows, [self.passed, self.passed + len(feedback)])
        if first < end:
            self.parts.append(self.words.matrix(feedback[self.rows[first:end] - self.passed]))
        self.passed += len(feedback)

    def model(self) -> Model:
        """Of all that was read."""
        from scipy.sparse import vstack

        read = vstack(self.parts, "csr")
        self.parts = []
        used = np.unique(read.indices)
        fits = {}
        for each, train in self.trained.items():
            weights, start = fit(read[np.searchsorted(self.rows, train)], self.numbers.number[train])
            fits[each] = weights[used], start
        return Model(self.words, used, fits)


def _by_judge(frame: pl.DataFrame) -> Iterator[tuple[str, NDArray[np.int64], pl.DataFrame]]:
    """Each judge, the places of some of its judgements, and these, as many as are read word by word at once."""
    for some in frame.with_row_index("row").iter_slices(AT_ONCE):
        for (judge,), rows in some.group_by("judge", maintain_order=True):
            yield str(judge), rows["row"].to_numpy().astype(np.int64), rows


def _is_said(rows: pl.DataFrame) -> NDArray[np.bool_]:
    return (rows["wim_status"] == str(WimStatus.MISSING)).to_numpy()


def _feedback(rows: pl.DataFrame) -> pl.Series:
    """What is said to be missing; null for every other judgement."""
    return rows.select(pl.when(pl.Series(_is_said(rows))).then("feedback")).to_series()


def folds(prompts: pl.Series) -> NDArray[np.int64]:
    """In [0, FOLDS): all judgements of a prompt are in the same one, whatever else is in the run."""
    return np.array([zlib.crc32(name.encode()) % FOLDS for name in prompts], np.int64)


def fit(words: "csr_matrix", number: Floats) -> tuple[Floats, float]:
    """The weight of each word or pair, and what is added to their sum; 0 for what no text holds."""
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=PENALTY, solver="sparse_cg", tol=1e-4).fit(words, number)
    return model.coef_, model.intercept_
