"""Losses over ranked lists: against plain loops over their definitions, and through `wim train dpo` on the real TRL."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from trained import metric

from builder import params
from builder.errors import ParamsError
from builder.language import policy
from train import dpo
from train.preferences import lists, listwise

Wim = Callable[..., int]
QUICK = ["train.batch=4", "train.device_batch=2", "train.learning_rate=1e-3", "train.max_steps=8"]
VALUES = [[0.9, 0.1, -0.4], [0.5, 0.5], [0.2, 0.8, 0.2, -0.1]]
"""Of three lists: an odd one, a tie, one whose best is not its first."""


def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, values and lists of VALUES, in mixed order."""
    torch.manual_seed(0)
    values = torch.tensor([value for each in VALUES for value in each], dtype=torch.float64)
    places = torch.tensor([number for number, each in enumerate(VALUES) for _ in each])
    order = torch.randperm(len(values))
    scores = torch.randn(len(values), dtype=torch.float64, requires_grad=True)
    return scores, values[order], places[order]


def each_list(scores: torch.Tensor, values: torch.Tensor, places: torch.Tensor) -> list[list[tuple[float, float]]]:
    rows = zip(scores.tolist(), values.tolist(), places.tolist(), strict=True)
    found: list[list[tuple[float, float]]] = [[] for _ in VALUES]
    for score, value, place in rows:
        found[place].append((score, value))
    return found


def test_lipo_lambda_is_the_sum_over_pairs_by_what_a_swap_would_cost() -> None:
    scores, values, places = drawn()
    total = 0.0
    for members in each_list(scores, values, places):
        rank = {score: 1 + sum(other > score for other, _ in members) for score, _ in members}
        for one, good in members:
            for other, bad in members:
                if good > bad:
                    gain = abs(2**good - 2**bad)
                    discount = abs(1 / math.log(1 + rank[one]) - 1 / math.log(1 + rank[other]))
                    total += gain * discount * math.log1p(math.exp(other - one))
    assert listwise.lipo_lambda(scores, values, places).item() == pytest.approx(total / len(VALUES), rel=1e-12)


def test_equal_scores_have_different_ranks_so_that_there_is_something_to_learn() -> None:
    scores = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    loss = listwise.lipo_lambda(scores, torch.tensor([0.9, 0.1, -0.4], dtype=torch.float64), torch.zeros(3).long())
    (gradient,) = torch.autograd.grad(loss, scores)
    assert gradient[0] < 0 < gradient[2]


def test_pro_is_the_best_against_the_rest_then_the_next() -> None:
    scores, values, places = drawn()
    total, best = 0.0, 0.0
    for members in each_list(scores, values, places):
        for one, good in members:
            worse = [(other, bad) for other, bad in members if bad < good]
            if worse:
                sharpest = max(good - bad for _, bad in worse)
                own = math.exp(one * sharpest)
                total -= math.log(own / (own + sum(math.exp(other * (good - bad)) for other, bad in worse)))
        top = max(value for _, value in members)
        first = next(score for score, value in members if value == top)
        best -= listwise.SFT * (len(members) - 1) ** 2 * first
    assert listwise.pro(scores, values, places).item() == pytest.approx(total / len(VALUES), rel=1e-12)
    assert listwise.sft(scores, values, places).item() == pytest.approx(best / len(VALUES), rel=1e-12)


@pytest.mark.parametrize("loss", [listwise.pro, listwise.lipo_lambda])
def test_what_pairing_calls_a_tie_is_no_pair_of_a_list(loss: Callable[..., torch.Tensor]) -> None:
    scores = torch.tensor([0.4, -0.3, 0.2, 0.1])
    values, places = torch.tensor([0.3, 0.2, 0.4, 0.3], dtype=torch.float64), torch.tensor([0, 0, 1, 1])
    assert loss(scores, values, places, 0.1).item() == 0  # 0.3 - 0.2 is below 0.1 in floats, and 0.4 - 0.3 above
    assert loss(scores, values, places, 0.0).item() > 0
    assert loss(scores, values, places, 0.0).dtype == torch.float32


@pytest.mark.parametrize("loss", [listwise.pro, listwise.sft, listwise.lipo_lambda])
def test_gradients_are_those_of_finite_differences(loss: Callable[..., torch.Tensor]) -> None:
    scores, values, places = drawn()
    assert torch.autograd.gradcheck(lambda given: loss(given, values, places), (scores,))


def make_run(wim: Wim, write_jsonl: Callable[..., Path], completions: int) -> None:
    """Prompts whose completions say less and less, and one whose completions are all tied."""
    facts = ["It is grey.", "It has four legs.", "It lives in the water.", "It eats honey."]
    records = [
        {"prompt": f"Describe the thing number {i}.", "completion": " ".join(facts[: index + 1]) + f" {i}"}
        | {"rating": 5 if i == 0 else 2 + 2 * index, "feedback": f"leaves out {4 - index} facts of {i}"}
        for i in range(9)
        for index in range(completions)
    ]
    write_jsonl(records, "records.jsonl")
    sets = ("--set", "rate.method=numerical")
    assert wim("build", "records.jsonl", "--out", "run", *sets) == 0


@pytest.mark.parametrize(("loss", "completions"), [("lipo_lambda", 3), ("pro", 4)])
def test_a_policy_learns_the_order_of_lists(
    wim: Wim, write_jsonl: Callable[..., Path], capsys: pytest.CaptureFixture[str], loss: str, completions: int
) -> None:
    make_run(wim, write_jsonl, completions)
    (Path("run") / "pairs.parquet").unlink()  # lists are read off the ratings
    capsys.readouterr()
    sets = [word for setting in [*QUICK, f"train.loss={loss}"] for word in ("--set", setting)]
    assert wim("train", "dpo", "run", *sets, "--json") == 0
    told = capsys.readouterr()
    made = json.loads(told.out)
    assert made["pairs"] == 8
    assert "1 of 9 prompts are left out" in told.err
    losses, margins = metric(Path("run"), "loss"), metric(Path("run"), "rewards/margins")
    assert sum(losses[-2:]) < sum(losses[:2])
    assert margins[0] == pytest.approx(0, abs=1e-5)
    assert margins[-1] > 0.01
    assert Path("run/policy/policy.json").is_file()


@pytest.mark.parametrize(("loss", "another"), [("lipo_lambda", True), ("pro", True), ("sigmoid", False)])
def test_who_ranks_a_list_makes_another_training_of_it(loss: str, another: bool) -> None:
    """One that was killed must not go on from the checkpoint of other lists."""
    works = {
        dpo._fingerprint({}, policy.base(given.model), given)
        for judge in ("ana", "ben")
        if (given := params.load(None, [f"train.loss={loss}", f"pair.judge={judge}"]))
    }
    assert (len(works) == 2) == another


def test_a_list_stands_as_pairs_from_both_its_ends() -> None:
    ranked = pl.DataFrame(
        [("p", f"p-{i}", [{"role": "user", "content": "?"}], f"text {i}", 1.0 - i) for i in range(3)],
        schema={
            "prompt_id": pl.String, "completion_id": pl.String,
            "messages": pl.List(pl.Struct({"role": pl.String, "content": pl.String})), "text": pl.String,
            "value": pl.Float64,
        },
        orient="row",
    )  # fmt: skip
    found = lists._paired(ranked)
    assert found["pair_id"].to_list() == ["p-0 p-2", "p-1 p-2"]
    assert found["single"].to_list() == [False, True]
    assert found["score_chosen"].to_list() == [1.0, 0.0]


@pytest.mark.parametrize("setting", ["train.weight=delta", "train.offset=1", "train.order=delta_desc"])
def test_what_is_said_of_pairs_is_refused(setting: str) -> None:
    with pytest.raises(ParamsError, match="lipo_lambda"):
        params.load(None, ["train.loss=lipo_lambda", setting])
