"""stats.json: the accounting from prompts to pairs, and tie statistics of the methods (design: definitions).

All of it is taken part by part: counts add up, and so do moments.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder import judgements, tables
from builder.compare import JudgedPairs, comparable, judged_pairs, scaled
from builder.errors import TableError
from builder.params import Params
from builder.statuses import RatingStatus, Reason, WimStatus
from builder.streams.parts import Part


@dataclass(frozen=True)
class Moments:
    """How many values there are, their mean, and the sums of their squared and cubed distances from it.

    Sums of two parts: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances" (1979); the third by Pébay, SAND2008-6212, equation 2.1.
    """

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    cubes: float = 0.0

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Moments":
        """Of the values themselves."""
        if not len(values):
            return cls()
        mean = float(values.mean())
        centred = values - mean
        return cls(len(values), mean, float(np.sum(centred**2)), float(np.sum(centred**3)))

    def __add__(self, other: "Moments") -> "Moments":
        """Of the values of both."""
        if not self.n or not other.n:
            return self if self.n else other
        n, apart = self.n + other.n, other.mean - self.mean
        shift = apart * other.n / n
        squares = self.squares + other.squares + apart * shift * self.n
        cubes = self.cubes + other.cubes + apart * shift**2 * self.n * (self.n / other.n - 1)
        cubes += 3 * apart * (self.n * other.squares - other.n * self.squares) / n
        return Moments(n, self.mean + shift, squares, cubes)

    def std(self) -> float | None:
        """With ddof 0; None where there is no value."""
        return float(np.sqrt(self.squares / self.n)) if self.n else None

    def skewness(self) -> float | None:
        """The biased g1 = m3 / m2**1.5 (scipy's default); None where all values are equal."""
        if not self.n:
            return None
        m2 = self.squares / self.n
        if m2 <= (np.finfo(float).resolution * self.mean) ** 2:
            return None
        return float(self.cubes / self.n / m2**1.5)


class Method:
    """Statistics of one method on its display scale: middle + factor * value, which is ``width`` wide."""

    def __init__(self, factor: float, middle: float, width: float) -> None:
        self.factor, self.middle, self.width = factor, middle, width
        self.pairs = self.ties = 0
        self.delta = 0.0
        self.values = Moments()

    def add(self, judged: JudgedPairs, min_gap: float) -> None:
        """The judged pairs of a part."""
        self.pairs += len(judged.delta)
        self.ties += int(judged.tied(min_gap).sum())
        self.delta += float(judged.delta.sum())
        self.values += Moments.of(self.middle + self.factor * judged.values["value"].to_numpy())

    def summary(self) -> dict[str, Any]:
        """The method's block in stats.json."""
        delta = self.factor * (self.delta / self.pairs) if self.pairs else None
        std = self.values.std()
        return {
            "judged_pairs": self.pairs,
            "ties": self.ties,
            "tie_rate": self.ties / self.pairs if self.pairs else None,
            "average_delta": delta,
            "normalised_delta": delta / self.width if delta is not None else None,
            "effect_delta": delta / std if delta is not None and std else None,
            "mean": self.values.mean if self.values.n else None,
            "std": std,
            "skewness": self.values.skewness(),
        }


class Summary:
    """stats.json, taken part by part. ``several``: by column of the ratings, if more than one judge has a value."""

    def __init__(self, params: Params, several: Mapping[str, bool]) -> None:
        low, high = params.rating.scale
        per_r = (high - low) / 2 if params.rating.rescale else (high + low) / 2
        self.settings, self.several = params.pair, several
        self.prompts, self.completions, self.judgements = Counter[str](), Counter[str](), Counter[str]()
        self.statuses, self.reasons = Counter[str](), Counter[str | None]()
        self.pairs = self.attempts = 0
        self.all_rated = True
        self.methods = {
            "numerical": Method(abs(per_r), (low + high) / 2, high - low),
            "wim": Method(5.0, 5.0, 10.0),
            "reward": Method(1.0, 0.0, 2.0),
        }

    def add(self, part: Part, judged: JudgedPairs, pairs: int, paired: int) -> None:
        """A part, its judged pairs by reward, and how many pairs of how many prompts were made of them."""
        several = judged.values["prompt_id"].gather(judged.better).n_unique()
        self.prompts.update(total=len(part.prompts), paired=paired, several=several)
        empty = int(part.completions.select(judgements.is_empty(pl.col("text")).sum()).item())
        self.completions.update(total=len(part.completions), empty=empty, compared=len(judged.values))
        self._judgements(part)
        self.pairs += pairs
        self.attempts += part.attempts
        self.all_rated &= _same(part.ratings["completion_id"], part.completions["completion_id"])
        self._methods(part, judged)

    def _judgements(self, part: Part) -> None:
        rated = part.ratings.filter(pl.col("judge") != "")
        numbers = part.feedback["rating_status"]
        self.statuses.update(dict(part.feedback["wim_status"].value_counts().iter_rows()))
        self.judgements.update(
            total=len(part.feedback),
            rating_unreadable=int((numbers == str(RatingStatus.UNREADABLE)).sum()),
            ratable=int(rated["ratable"].sum()),
        )
        self.reasons.update(dict(rated.filter(~pl.col("ratable"))["reason"].value_counts().iter_rows()))

    def _methods(self, part: Part, judged: JudgedPairs) -> None:
        self.methods["reward"].add(judged, self.settings.min_gap)
        # As in the run's own method: a judgement on an empty completion counts nowhere.
        counts = pl.col("reason").fill_null("") != str(Reason.EMPTY_COMPLETION)
        judge = scaled(self.settings.judge)
        for method, column in (("numerical", "R"), ("wim", "wim")):
            ratings = part.ratings.with_columns(pl.when(counts).then(column).alias(column))
            if judge == self.settings.judge and ratings[column].equals(ratings["reward"]):
                own = judged
            else:
                own = judged_pairs(comparable(ratings, part.completions, column, judge, self.several[column]))
            self.methods[method].add(own, self.settings.min_gap)

    def summary(self, truncated: int | None, attempts: int) -> dict[str, Any]:
        """stats.json but for its health; ``attempts`` is how many the feedback table holds.

        Raises TableError where the counts do not add up.
        """
        several, paired, total = (self.prompts[name] for name in ("several", "paired", "total"))
        counts = {
            "prompts": {"total": total, "paired": paired, "tied": several - paired, "too_few": total - several},
            "completions": {
                "total": self.completions["total"],
                "empty": self.completions["empty"],
                "truncated_for_embedding": truncated,
                "compared": self.completions["compared"],
            },
            "judgements": {
                "total": self.judgements["total"],
                **{str(status): self.statuses[str(status)] for status in WimStatus},
                "rating_unreadable": self.judgements["rating_unreadable"],
                "ratable": self.judgements["ratable"],
                "reasons": dict(sorted(self.reasons.items(), key=lambda reason: reason[0] or "")),
            },
            "pairs": self.pairs,
        }
        self._check(counts, attempts)
        return counts | {"methods": {name: method.summary() for name, method in self.methods.items()}}

    def _check(self, counts: dict[str, Any], attempts: int) -> None:
        """The accounting identities of design.md section 2."""
        said, prompts = counts["judgements"], counts["prompts"]
        held = {
            "every judgement is of a completion": attempts == self.attempts,
            "missing + nothing + unreadable + absent = judgements": said["total"]
            == sum(said[str(status)] for status in WimStatus),
            "every judgement is ratable or has a reason": said["total"]
            == said["ratable"] + sum(said["reasons"].values()),
            "every completion is judged or has a reason": self.all_rated,
            "paired + tied + too_few = prompts": all(v >= 0 for v in prompts.values())
            and prompts["total"] == prompts["paired"] + prompts["tied"] + prompts["too_few"],
        }
        broken = [identity for identity, holds in held.items() if not holds]
        if broken:
            told = "; ".join(broken)
            raise TableError(f"the counts do not add up: {told}. Was a table made from others than these?")


def _same(some: pl.Series, others: pl.Series) -> bool:
    """Whether the same ids are in both."""
    one, other = some.to_frame(), others.to_frame()
    return one.join(other, on=some.name, how="anti").is_empty() and other.join(one, on=some.name, how="anti").is_empty()


def usage(files: Mapping[str, Path]) -> dict[str, Any]:
    """Tokens and cost of the tables that an engine made, as these say; nothing for an import."""
    stages = {"completions": "complete", "feedback": "judge"}
    said = {stage: tables.read_metadata(files[name]).get("usage") for name, stage in stages.items()}
    return {"usage": {stage: usage for stage, usage in said.items() if usage}} if any(said.values()) else {}


def skewness(values: NDArray[np.float64]) -> float | None:
    """The biased g1 = m3 / m2**1.5 (scipy's default); None where all values are equal."""
    return Moments.of(values).skewness()
