"""A head fitted to some prompts' preferences by one of the losses, and the penalty that suits the loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from bench.reward.graded import Graded, Numbers, Places
from builder.reward_model.head import Head, Rewards
from train.reward_model import fit, grades, measure

ORDINAL = ("ordinal_nll", "all_threshold")
LOSSES = ("bradley_terry", "margin", *ORDINAL, "listwise")
LENGTH = "length"
"""Bradley-Terry on nothing but the completion's length."""
PENALTIES = tuple(10.0**power for power in range(6, -4, -1))
FOLDS = 3
GRADES = 5


@dataclass(frozen=True, eq=False)
class Fitted:
    """``reward`` [completions] of all completions, and the ``thresholds`` between the grades of their differences."""

    reward: Numbers
    thresholds: torch.Tensor


def cuts_of(data: Graded, prompts: Places) -> tuple[float, ...]:
    """Where the labels of these prompts are cut into grades."""
    if data.cuts is not None:
        return data.cuts
    delta = data.learned[np.isin(data.prompt_of_pair, prompts)]
    return grades.cuts(pl.Series(np.abs(delta[np.isfinite(delta)])), GRADES)


def fitted(data: Graded, prompts: Places, loss: str, cuts: tuple[float, ...], penalty: float) -> Fitted:
    """What is learned from ``prompts``. ``penalty``: of the squared weights, against the sum of the loss over examples.

    So it says the same of few examples as of many. Thresholds are those of the loss or, if it has none, the most
    likely ones of the same prompts' graded pairs under the rewards.
    """
    reward, thresholds = _learned(data, prompts, loss, cuts, penalty)
    limits = thresholds_under(data, reward, prompts, cuts) if thresholds is None else thresholds
    return Fitted(reward.numpy(), limits)


def _learned(
    data: Graded, prompts: Places, loss: str, cuts: tuple[float, ...], penalty: float
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Rewards of all completions, and the thresholds of a loss that has any."""
    columns, weights = (data.length[:, None], np.ones(1)) if loss == LENGTH else (data.features, data.weights)
    loss = "bradley_terry" if loss == LENGTH else loss
    rows, batch = examples(data, prompts, loss, cuts)
    features = standardised(columns, np.unique(rows)) * torch.from_numpy(weights)
    head = _head(features.shape[1], loss, batch, cuts)
    if len(rows):  # of few prompts all may be tied
        used, head.rows = (torch.from_numpy(each) for each in np.unique(rows, return_inverse=True))
        fit.fit(head, features[used], batch, loss, penalty=penalty / len(batch["target"]))
    with torch.no_grad():
        return head(features)[:, 0], head.thresholds() if head.thresholds else None


def penalty_for(data: Graded, prompts: Places, loss: str, cuts: tuple[float, ...]) -> float:
    """Of PENALTIES the one under which the preferences of left-out prompts are likeliest, by cross-validation.

    From the strongest on, until two in a row are worse: weak ones take long.
    """

    def unlikely(penalty: float) -> float:
        found = []
        for fold in range(FOLDS):
            left_out = prompts[fold::FOLDS]
            reward, _ = _learned(data, np.setdiff1d(prompts, left_out), loss, cuts, penalty)
            found.append(preferred(data, reward.numpy(), left_out, data.learned))
        return measure.nll(np.concatenate(found))

    best, least, worse = PENALTIES[0], np.inf, 0
    for penalty in PENALTIES:
        found = unlikely(penalty)
        best, least, worse = (penalty, found, 0) if found < least else (best, least, worse + 1)
        if worse == 2:
            break
    return best


def preferred(data: Graded, reward: Numbers, prompts: Places, delta: Numbers) -> Numbers:
    """Of the pairs of ``prompts`` that ``delta`` does not tie: the reward of the better one less that of the other."""
    told = np.isin(data.prompt_of_pair, prompts) & (np.nan_to_num(delta) != 0)
    found: Numbers = (np.sign(delta) * (reward[data.first] - reward[data.second]))[told]
    return found


def examples(data: Graded, prompts: Places, loss: str, cuts: tuple[float, ...]) -> tuple[Places, dict[str, Any]]:
    """Completions, one after the other, and which of them belong together: a batch as fit.py reads it."""
    if loss == "listwise":
        return _lists(data, prompts)
    pairs = np.flatnonzero(np.isin(data.prompt_of_pair, prompts) & np.isfinite(data.learned))
    swap, delta = data.learned[pairs] < 0, np.abs(data.learned[pairs])
    sides = np.stack([data.first[pairs], data.second[pairs]], axis=1)
    sides[swap] = sides[swap, ::-1]
    if loss in ORDINAL:
        target = grades.of_delta(pl.Series(delta), cuts, grades_in(cuts)).cast(pl.Float64).to_numpy()
    else:
        target = np.where(delta > 0, delta, np.nan)
    kept = np.isfinite(target)
    return sides[kept].ravel(), {
        "lists": torch.arange(int(kept.sum())).repeat_interleave(2),
        "best": torch.tensor([True, False]).repeat(int(kept.sum())),
        "target": torch.from_numpy(target[kept]),
    }


def _lists(data: Graded, prompts: Places) -> tuple[Places, dict[str, Any]]:
    """Lists with a best completion, or several, and another one."""
    frame = pl.DataFrame({"place": np.arange(len(data.prompt)), "list": data.list_of, "value": data.value})
    known = frame.filter(np.isin(data.prompt, prompts) & np.isfinite(data.value)).sort("list", maintain_order=True)
    best = known.with_columns(best=pl.col("value") >= pl.col("value").max().over("list") - 1e-9)
    useful = best.filter(~pl.col("best").all().over("list"))
    return np.array(useful["place"]), {
        "lists": torch.tensor(useful["list"].rle_id().to_list()),
        "best": torch.tensor(useful["best"].to_list()),
        "target": torch.zeros(useful["list"].n_unique()),
    }


def grades_in(cuts: tuple[float, ...]) -> int:
    """With a grade "alike" in the middle."""
    return 2 * len(cuts) + 1


def standardised(features: Numbers, rows: NDArray[np.int64]) -> torch.Tensor:
    """In units of the mean and standard deviation of ``rows``; a column that is always the same is 0."""
    if not len(rows):
        return torch.zeros(features.shape, dtype=torch.float64)
    mean, std = features[rows].mean(axis=0), features[rows].std(axis=0)
    return torch.from_numpy((features - mean) / np.where(std > 0, std, np.inf))


class Repeated(Head):
    """A head for completions that stand in many pairs: ``rows`` of the batch, each worked out once."""

    rows: torch.Tensor

    def rewards(self, last: torch.Tensor, prompt: torch.Tensor) -> Rewards:
        return Rewards(super().rewards(last, prompt).reward[self.rows])


def _head(size: int, loss: str, batch: Mapping[str, torch.Tensor], cuts: tuple[float, ...]) -> Repeated:
    head = Repeated(size, grades=grades_in(cuts) if loss in ORDINAL else 0).double()
    if head.thresholds is not None:
        head.thresholds.begin_at(_counts(batch, cuts))
    return head


def _counts(batch: Mapping[str, torch.Tensor], cuts: tuple[float, ...]) -> list[float]:
    return torch.bincount(batch["target"].long(), minlength=grades_in(cuts)).tolist()


def thresholds_under(data: Graded, reward: torch.Tensor, prompts: Places, cuts: tuple[float, ...]) -> torch.Tensor:
    """The most likely thresholds of graded pairs whose rewards stay as they are."""
    rows, batch = examples(data, prompts, "ordinal_nll", cuts)
    head = _head(1, "ordinal_nll", batch, cuts)
    head.weight.requires_grad_(False).fill_(1.0)
    head.rows = torch.from_numpy(rows)
    fit.fit(head, reward[:, None], batch, "ordinal_nll")
    assert head.thresholds is not None
    found: torch.Tensor = head.thresholds().detach()
    return found
