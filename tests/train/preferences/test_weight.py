"""train.weight: the gap in ratings weights a pair's loss."""

import typing
from pathlib import Path
from typing import Any

import by_hand
import polars as pl
import pytest
import torch

from bench.training import first_round, losses, sample
from builder import params
from builder.errors import ParamsError, TableError
from builder.params import UNWEIGHTED, Train
from train import dpo
from train.preferences import weight

PAIRS = sample(8)
EQUAL = PAIRS.with_columns(delta=pl.lit(0.3))
SETS = ["train.batch=8", "train.device_batch=4", "train.learning_rate=1e-3", "train.max_steps=2"]
LOSSES = typing.get_args(typing.get_type_hints(Train)["loss"])


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A policy that a round has trained: against the base model each pair has a margin of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("start"))
        return first_round(PAIRS, params.load(None, SETS), Path.cwd())


@pytest.fixture
def trainer(start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def made(pairs: pl.DataFrame, *sets: str) -> Any:
        given = params.load(None, [*SETS, *(f"train.{setting}" for setting in sets)])
        trainer = dpo.assemble(pairs, start, given, Path("work"), Path("run"))
        dpo.prepare(trainer, pairs, start, given)
        return trainer

    return made


@pytest.mark.parametrize("sets", [[], ["loss=ipo"], ["offset=0.5"]])
def test_equal_gaps_weigh_nothing(trainer: Any, sets: list[str]) -> None:
    plain, weighted = trainer(EQUAL, *sets), trainer(EQUAL, *sets, "weight=delta")
    plain.train()
    weighted.train()
    assert losses(weighted) == losses(plain)
    assert weighted.state.log_history[1]["grad_norm"] == plain.state.log_history[1]["grad_norm"]


@pytest.mark.parametrize("device_batch", [8, 4])  # at once, and accumulated
@pytest.mark.parametrize("reference", ["base", "previous"])
def test_loss_and_gradient_are_those_worked_out_by_hand(
    trainer: Any, start: Any, device_batch: int, reference: str
) -> None:
    from transformers import TrainerCallback

    gradients: dict[str, torch.Tensor] = {}

    class Gradients(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *arguments: Any, model: Any = None, **options: Any) -> None:
            del arguments, options
            gradients.update({n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad})

    ours = trainer(PAIRS, f"device_batch={device_batch}", f"reference={reference}", "weight=delta", "max_steps=1")
    ours.add_callback(Gradients())
    ours.train()
    loss, margin, expected = worked_out(start, PAIRS, reference)
    assert losses(ours)[0] == pytest.approx(loss, abs=1e-5)
    assert ours.state.log_history[0]["rewards/margins"] == pytest.approx(margin, abs=1e-4)
    norm = torch.stack([g.norm() for g in expected.values()]).norm().item()
    assert ours.state.log_history[0]["grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():  # TRL cuts the gradient's norm to 1
        assert torch.allclose(gradients[name], gradient / max(norm, 1.0), rtol=1e-3, atol=1e-6), name


def worked_out(start: Any, pairs: pl.DataFrame, reference: str) -> tuple[float, float, dict[str, torch.Tensor]]:
    """The mean over pairs of delta / mean delta * -log sigmoid(margin), the mean margin, and the loss's gradient."""
    tokenizer, model = by_hand.policy(start)
    chosen, rejected = (
        torch.stack([each.log_prob() for each in by_hand.said(tokenizer, model, pairs, side)])
        for side in ("chosen", "rejected")
    )
    if reference == "base":
        base = by_hand.log_probs(type(start)(start.model, start.revision), pairs)
    else:
        base = chosen.detach(), rejected.detach()
    weights = torch.tensor((pairs["delta"] / pairs["delta"].mean()).to_list())
    margins = 0.1 * ((chosen - base[0]) - (rejected - base[1]))
    loss = (weights * -torch.nn.functional.logsigmoid(margins)).mean()
    loss.backward()
    return loss.item(), margins.mean().item(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def test_each_other_loss_takes_weights(trainer: Any) -> None:
    ours = trainer(PAIRS, "weight=delta", "device_batch=8")
    ours.label_smoothing = 0.01
    batch = next(iter(ours.get_train_dataloader()))
    for loss in sorted(set(LOSSES) - set(UNWEIGHTED)):
        ours.loss_types = [loss]
        weighted, doubled = ours.compute_loss(ours.model, batch), twice(ours, batch)
        weighted.backward()
        assert doubled == pytest.approx(2 * weighted.item(), rel=1e-5), loss


def twice(trainer: Any, batch: dict[str, Any]) -> float:
    loss: float = trainer.compute_loss(trainer.model, batch | {"weight": 2 * batch["weight"]}).item()
    return loss


def test_trl_cannot_yet_weight_the_hinge_loss(trainer: Any) -> None:
    ours = trainer(PAIRS, "weight=delta", "device_batch=8")
    ours.loss_types = ["hinge"]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        ours.compute_loss(ours.model, next(iter(ours.get_train_dataloader()))).backward()


@pytest.mark.parametrize("loss", sorted(UNWEIGHTED))
def test_losses_that_take_no_weights_are_refused_with_why(loss: str) -> None:
    with pytest.raises(ParamsError, match=rf"train\.weight must be none for the loss {loss} \("):
        params.load(None, [f"train.loss={loss}", "train.weight=delta"])


@pytest.mark.parametrize(("delta", "told"), [(-0.1, "8 of 8 pairs have a delta below 0"), (0.0, "the delta 0")])
def test_gaps_that_are_no_weights_are_told(delta: float, told: str) -> None:
    settings = params.load(None, ["train.weight=delta"]).train
    with pytest.raises(TableError, match=told):
        weight.added(PAIRS.with_columns(delta=pl.lit(delta)), settings)


def test_weights_have_the_mean_1() -> None:
    settings = params.load(None, ["train.weight=delta"]).train
    weights = weight.added(PAIRS, settings)["weight"]
    assert weights.mean() == pytest.approx(1)
    assert (weights / weights.max()).to_list() == pytest.approx((PAIRS["delta"] / PAIRS["delta"].max()).to_list())
