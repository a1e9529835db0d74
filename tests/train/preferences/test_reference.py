"""The reference beforehand: the stock trainer's numbers, no second model in a step, kept and used again."""

import contextlib
import math
from pathlib import Path
from typing import Any

import by_hand
import polars as pl
import pytest

from bench.training import first_round, losses, sample, stock
from builder import params
from builder.language import policy
from train import dpo

SETS = ["train.batch=8", "train.device_batch=4", "train.learning_rate=1e-3", "train.max_steps=3"]


def given(*sets: str) -> params.Params:
    return params.load(None, [*SETS, *(f"train.{setting}" for setting in sets)])


def prepared(start: Any, parameters: params.Params, pairs: pl.DataFrame | None = None) -> Any:
    pairs = sample(24) if pairs is None else pairs
    trainer = dpo.assemble(pairs, start, parameters, Path("work"), Path("run"))
    dpo.prepare(trainer, pairs, start, parameters)
    return trainer


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A policy that a round has trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("trained"))
        return first_round(sample(24), given(), Path.cwd())


@pytest.mark.parametrize(("later", "reference"), [(False, "previous"), (True, "previous"), (True, "base")])
def test_losses_and_rewards_are_those_of_a_stock_script(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: bool, reference: str
) -> None:
    monkeypatch.chdir(tmp_path)
    parameters = given(f"reference={reference}", "max_completion=20")  # some completions are cut
    start = trained if later else policy.base(parameters.model)
    ours, theirs = prepared(start, parameters), stock(sample(24), start, parameters)
    ours.train()
    theirs.train()
    assert losses(ours) == pytest.approx(losses(theirs), abs=1e-5)
    assert (abs(losses(ours)[0] - math.log(2)) < 1e-6) == (reference == "previous")
    for name in ("rewards/chosen", "rewards/margins", "rewards/accuracies", "logps/chosen", "entropy", "num_tokens"):
        mine, stocks = ([entry.get(name) for entry in t.state.log_history[:-1]] for t in (ours, theirs))
        assert mine == pytest.approx(stocks, abs=1e-4), name


def test_a_step_runs_the_policy_once_and_there_is_no_copy_of_the_adapter(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer = prepared(trained, given("save_steps=2"))
    assert list(trainer.model.peft_config) == ["default"]
    calls: list[int] = []
    trainer.model.register_forward_pre_hook(lambda *_: calls.append(1))
    trainer.train()
    assert len(calls) == 3 * 2  # steps, parts of a batch
    assert not list(Path("work").glob("checkpoint-*/ref"))


def test_what_is_kept_is_used_again_where_nothing_that_it_depends_on_is_another(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = sample(24)

    def columns(start: Any, *sets: str, kept: bool) -> list[list[float]]:
        parameters = given(*sets)
        trainer = dpo.assemble(pairs, start, parameters, Path("work"), Path("run"))
        asked: list[int] = []
        work_out = trainer.compute_ref_log_probs
        trainer.compute_ref_log_probs = lambda *inputs: asked.append(1) or work_out(*inputs)
        dpo.prepare(trainer, pairs, start, parameters)
        assert bool(asked) != kept
        return [trainer.train_dataset[side] for side in ("ref_chosen_logps", "ref_rejected_logps")]

    base = policy.base(params.Model())
    first = columns(trained, kept=False)
    assert columns(trained, "beta=0.3", "loss=hinge", "max_steps=9", kept=True)[0] == first[0]
    assert columns(trained, "max_completion=5", kept=False)[0] != first[0]
    assert columns(trained, "attention=eager", kept=False)[0] == pytest.approx(first[0], abs=1e-3)
    against_base = columns(trained, "reference=base", kept=False)
    assert against_base[0] != first[0]
    assert columns(base, kept=True) == against_base
    assert columns(trained, kept=True) == first


def test_dropout_of_the_adapter_is_on_in_training_and_off_in_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = policy.base(params.Model())
    plain, dropping = prepared(base, given()), prepared(base, given("lora={dropout: 0.5}"))
    assert dropping.train_dataset["ref_chosen_logps"][:] == plain.train_dataset["ref_chosen_logps"][:]
    plain.train()
    dropping.train()
    assert losses(plain)[1:] != losses(dropping)[1:]


def test_what_was_worked_out_before_an_interruption_is_not_worked_out_again(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("train.preferences.reference.TOGETHER", 2)
    pairs, parameters = sample(24), given("device_batch=2")  # 12 batches

    def prepare(stop_after: int) -> tuple[Any, int]:
        trainer = dpo.assemble(pairs, trained, parameters, Path("work"), Path("run"))
        work_out, asked = trainer.compute_ref_log_probs, [0]

        def counted(*inputs: Any) -> Any:
            if asked[0] == stop_after:
                raise KeyboardInterrupt
            asked[0] += 1
            return work_out(*inputs)

        trainer.compute_ref_log_probs = counted
        with contextlib.suppress(KeyboardInterrupt):
            dpo.prepare(trainer, pairs, trained, parameters)
        return trainer, asked[0]

    prepare(stop_after=7)  # three parts of two batches are kept
    again, asked = prepare(stop_after=99)
    assert asked == 12 - 6
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # where nothing is kept
    uninterrupted, asked = prepare(stop_after=99)
    assert asked == 12
    for side in ("ref_chosen_logps", "ref_rejected_logps"):
        assert again.train_dataset[side][:] == uninterrupted.train_dataset[side][:]


def short(count: int) -> pl.DataFrame:
    """Pairs whose log-probabilities, sums over few tokens, are known to 1e-4 in 32 bits."""
    pairs = sample(count)
    cut = [[turn | {"content": turn["content"][:40]} for turn in turns] for turns in pairs["chosen"]]
    return pairs.with_columns(pl.Series("chosen", cut, pairs.schema["chosen"]))


def test_the_reference_is_the_policy_that_the_parameter_names(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base, pairs = policy.base(params.Model()), short(24)
    by_policy = {"previous": by_hand.log_probs(trained, pairs), "base": by_hand.log_probs(base, pairs)}
    for reference, (chosen, rejected) in by_policy.items():
        kept = prepared(trained, given(f"reference={reference}"), pairs).train_dataset
        assert list(kept["ref_chosen_logps"]) == pytest.approx(chosen.tolist(), abs=1e-4), reference
        assert list(kept["ref_rejected_logps"]) == pytest.approx(rejected.tolist(), abs=1e-4), reference
    apart = (by_policy["previous"][0] - by_policy["base"][0]).abs().min()
    assert apart > 0.01  # so that the one cannot be taken for the other


def test_the_first_margin_against_the_base_is_beta_times_the_lead_of_the_round_before(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = short(24)
    all_at_once = ("batch=24", "device_batch=24", "max_steps=1", "beta=0.3")
    ahead = prepared(trained, given("reference=base", *all_at_once), pairs)
    level = prepared(trained, given("reference=previous", *all_at_once), pairs)
    ahead.train()
    level.train()
    chosen, rejected = by_hand.log_probs(trained, pairs)
    base_chosen, base_rejected = by_hand.log_probs(policy.base(params.Model()), pairs)
    lead = 0.3 * ((chosen - base_chosen) - (rejected - base_rejected)).mean().item()
    assert lead > 0.01
    assert ahead.state.log_history[0]["rewards/margins"] == pytest.approx(lead, abs=1e-4)
    assert level.state.log_history[0]["rewards/margins"] == pytest.approx(0, abs=1e-5)
