"""What is logged is what train/running/metrics.py says it is: worked out by hand on one batch."""

from pathlib import Path
from typing import Any

import by_hand
import pytest
import torch

from bench.training import first_round, sample
from builder import params
from builder.language import policy
from train import dpo
from train.running import metrics, throughput

PAIRS = sample(8)
SETS = ["train.batch=8", "train.device_batch=8", "train.learning_rate=1e-3", "train.max_steps=1"]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The first step of a later round against the base model, on all pairs at once, and the policies."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("metrics")
        given = params.load(None, [*SETS, "train.reference=base"])
        start = first_round(PAIRS, params.load(None, [*SETS, "train.max_steps=4"]), folder)
        patch.chdir(folder)  # first_round leaves it for the project's
        trainer = dpo.assemble(PAIRS, start, given, Path("work"), Path("run"))
        dpo.prepare(trainer, PAIRS, start, given)
        trainer.train()
        return start, policy.base(given.model), trainer.state.log_history


def test_each_number_is_what_its_definition_says(logged: Any) -> None:
    start, base, history = logged
    table = metrics.table(history)
    found = dict(zip(table["name"], table["value"], strict=True))
    tokenizer, model = by_hand.policy(start)
    with torch.no_grad():
        chosen, rejected = (by_hand.said(tokenizer, model, PAIRS, side) for side in ("chosen", "rejected"))
    log_chosen, log_rejected = (torch.stack([s.log_prob() for s in side]) for side in (chosen, rejected))
    base_chosen, base_rejected = by_hand.log_probs(base, PAIRS)
    reward_chosen, reward_rejected = 0.1 * (log_chosen - base_chosen), 0.1 * (log_rejected - base_rejected)
    margins = reward_chosen - reward_rejected
    top = [(s.logits.argmax(-1) == s.ids).float() for s in chosen]
    by_definition = {
        "loss": -torch.nn.functional.logsigmoid(margins).mean(),
        "rewards/chosen": reward_chosen.mean(),
        "rewards/rejected": reward_rejected.mean(),
        "rewards/margins": margins.mean(),
        "rewards/accuracies": (margins > 0).float().mean(),
        "logps/chosen": log_chosen.mean(),
        "logps/rejected": log_rejected.mean(),
        "entropy": torch.cat([s.entropies() for s in chosen + rejected]).mean(),
        "logits/chosen": torch.cat([s.logits.mean(-1) for s in chosen]).mean(),
        "logits/rejected": torch.cat([s.logits.mean(-1) for s in rejected]).mean(),
        "mean_token_accuracy": torch.cat(top).mean(),
        "num_tokens": sum(s.read for s in chosen + rejected),
        "learning_rate": 1e-3,
        "epoch": 1.0,
    }
    assert found.keys() == by_definition.keys() | {"grad_norm"}
    for name, value in by_definition.items():
        assert found[name] == pytest.approx(float(value), abs=1e-4), name
    assert abs(found["rewards/margins"]) > 0.01  # the policies do differ


def test_each_number_is_defined(logged: Any) -> None:
    _, _, history = logged
    for name in metrics.table(history)["name"]:
        side = name.replace("/rejected", "/chosen")
        assert side in (metrics.__doc__ or ""), name


def test_times_stand_in_a_table_of_their_own(logged: Any) -> None:
    _, _, history = logged
    assert throughput.SECONDS not in metrics.table(history)["name"].to_list()
    rows = throughput.table(history).to_dicts()
    assert [row["step"] for row in rows] == [1]
    assert rows[0]["tokens"] == metrics.table(history).filter(name="num_tokens")["value"][0]
    assert rows[0]["tokens_per_second"] == pytest.approx(rows[0]["tokens"] / rows[0]["seconds"])


def test_tokens_are_counted_for_each_step() -> None:
    history = [
        {"loss": 1.0, "step": 1, "num_tokens": 10.0, "seconds": 2.0},
        {"loss": 1.0, "step": 2, "num_tokens": 25.0, "seconds": 3.0},
        {"train_runtime": 5.0, "step": 2},
    ]
    assert throughput.table(history).rows() == [(1, 10, 2.0, 5.0), (2, 15, 3.0, 5.0)]
