"""What train.loss, train.offset, train.order and the machine's settings do, on the real TRL."""

import importlib.util
import math
import typing
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from trained import make_pairs, metric, weights

from builder import params
from builder.errors import ParamsError, WimError
from builder.params import BY_MARGIN, SMOOTHED, Train
from builder.params.train import LISTWISE

Wim = Callable[..., int]
LOSSES = typing.get_args(typing.get_type_hints(Train)["loss"])
OF_PAIRS = [loss for loss in LOSSES if loss not in LISTWISE]
QUICK = ["train.batch=4", "train.device_batch=4", "train.learning_rate=1e-3", "train.max_steps=2"]


def train(wim: Wim, run: str, *sets: str) -> int:
    return wim("train", "dpo", run, *(word for setting in [*QUICK, *sets] for word in ("--set", setting)))


@pytest.mark.parametrize("loss", OF_PAIRS)
def test_each_loss_trains(wim: Wim, tmp_path: Path, loss: str) -> None:
    make_pairs(tmp_path / "run", count=8)
    smoothing = ["train.label_smoothing=0.01"] if loss in SMOOTHED else []
    assert train(wim, "run", f"train.loss={loss}", *smoothing) == 0
    assert len(metric(tmp_path / "run", "loss")) == 2
    assert any(weight.abs().max() > 0 for name, weight in weights(tmp_path / "run").items() if "lora_B" in name)


def test_the_losses_are_all_that_trl_names() -> None:
    import inspect

    from trl.trainer import dpo_trainer

    told = inspect.getsource(dpo_trainer.DPOTrainer._compute_loss).split("Should be one of [")[1].split("]")[0]
    assert set(OF_PAIRS) == {name.strip(" \"'\n") for name in told.split(",")}


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - set(SMOOTHED)))
def test_label_smoothing_that_a_loss_would_ignore_is_refused(loss: str) -> None:
    with pytest.raises(ParamsError, match=f"label_smoothing must be 0 for the loss {loss} .*exo_pair"):
        params.load(None, [f"train.loss={loss}", "train.label_smoothing=0.1"])


def test_exo_pair_asks_for_label_smoothing() -> None:
    with pytest.raises(ParamsError, match="label_smoothing must be above 0 for exo_pair"):
        params.load(None, ["train.loss=exo_pair"])


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - set(BY_MARGIN)))
def test_an_offset_is_refused_where_it_would_be_none_of_the_margin(loss: str) -> None:
    smoothing = ["train.label_smoothing=0.1"] if loss in SMOOTHED else []
    with pytest.raises(ParamsError, match="offset must be 0"):
        params.load(None, [f"train.loss={loss}", "train.offset=1", *smoothing])


def test_an_offset_is_in_the_loss_and_not_in_the_rewards(wim: Wim, tmp_path: Path) -> None:
    runs = {"none": [], "tiny": ["train.offset=1e-9"], "one": ["train.offset=1"], "hinge": ["train.loss=hinge"]}
    runs["hinge"] += ["train.offset=0.5"]
    for run, sets in runs.items():
        make_pairs(tmp_path / run, count=16)
        assert train(wim, run, "train.batch=8", *sets) == 0  # two parts
    gap = math.log1p(0.8)  # the delta of every pair
    assert metric(tmp_path / "one", "loss")[0] == pytest.approx(math.log1p(math.exp(gap)), abs=1e-5)
    assert metric(tmp_path / "hinge", "loss")[0] == pytest.approx(1 + 0.5 * gap, abs=1e-5)
    for name in ("rewards/chosen", "rewards/margins", "rewards/accuracies"):
        assert metric(tmp_path / "one", name)[0] == pytest.approx(0, abs=1e-5)
        assert metric(tmp_path / "tiny", name) == pytest.approx(metric(tmp_path / "none", name), abs=1e-6)
    one = [metric(tmp_path / "one", f"rewards/{name}")[1] for name in ("margins", "chosen", "rejected")]
    assert one[0] == pytest.approx(one[1] - one[2], abs=1e-6)
    assert one[0] > 0


def test_a_delta_below_0_has_no_offset(wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_pairs(tmp_path / "run", count=4)
    file = tmp_path / "run/pairs.parquet"
    pl.read_parquet(file).with_columns(delta=-pl.col("delta")).write_parquet(file)
    assert train(wim, "run", "train.offset=1") == 1
    assert "4 of 4 pairs have a delta below 0" in capsys.readouterr().err


@pytest.mark.parametrize("order", ["delta_desc", "delta_asc"])
def test_pairs_come_in_the_order_of_their_deltas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    from bench.training import sample
    from builder.language import policy
    from train import dpo

    monkeypatch.chdir(tmp_path)
    parameters, pairs = params.load(None, [*QUICK, f"train.order={order}"]), sample(12)
    start = policy.base(parameters.model)
    trainer = dpo.assemble(pairs, start, parameters, Path("work"), Path("run"))
    dpo.prepare(trainer, pairs, start, parameters)
    came = [text for batch in trainer.get_train_dataloader() for text in prompts(trainer, batch)]
    in_order = pairs.sort("delta", descending=order == "delta_desc", maintain_order=True)["prompt"]
    assert [text.split("number ")[1].split(".")[0] for text in came] == [
        turns[0]["content"].split("number ")[1].split(".")[0] for turns in in_order.to_list()
    ]


def prompts(trainer: object, batch: dict[str, typing.Any]) -> list[str]:
    ids = batch["input_ids"][: len(batch["input_ids"]) // 2]
    texts: list[str] = trainer.processing_class.batch_decode(ids)  # type: ignore[attr-defined]
    return texts


@pytest.mark.parametrize(
    ("package", "setting"), [("bitsandbytes", "optimizer=adamw_8bit"), ("tensorboard", "tensorboard=true")]
)
def test_a_package_that_is_missing_is_told_with_how_to_install_it(package: str, setting: str) -> None:
    from train.running import machine

    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(WimError, match=f"pip install {package}"):
        machine.check(params.load(None, [f"train.{setting}"]).train)


def test_flash_attention_is_refused_without_a_gpu_and_in_32_bits() -> None:
    import torch

    from train.running import machine

    with pytest.raises(ParamsError, match=r"train\.bf16 must be true for flash attention"):
        params.load(None, ["train.attention=flash_attention_2"])
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(WimError, match="needs a GPU"):
        machine.check(params.load(None, ["train.attention=flash_attention_2", "train.bf16=true"]).train)


def test_eager_attention_and_bf16_train(wim: Wim, tmp_path: Path) -> None:
    make_pairs(tmp_path / "run", count=8)
    assert train(wim, "run", "train.attention=eager", "train.bf16=true") == 0
    assert metric(tmp_path / "run", "loss")[0] == pytest.approx(math.log(2), abs=1e-2)
