"""The comparison of learners, small: what they share, what is their own, and the table that is made of it."""

import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench import demo, learners

SETS = ("prompts.limit=6", "complete.n=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learners")


@pytest.fixture(scope="module")
def made(folder: Path) -> dict[str, learners.Learned]:
    """Every learner, after two steps, on four held-out prompts."""
    heldout = folder / "heldout.jsonl"
    with (demo.ROOT / "data/demo/heldout.jsonl").open() as every:
        heldout.write_text("".join(itertools.islice(every, 4)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("OMP_NUM_THREADS", "1")
        here = learners.Round(folder / "runs", learners.FIRST, 2, [*SETS, f"prompts.heldout={heldout}"])
        return learners.of_seed(here, learners.LEARNERS)


def test_each_learner_begins_with_the_same_model_and_takes_its_steps(
    made: dict[str, learners.Learned], folder: Path
) -> None:
    assert list(made) == list(learners.LEARNERS)
    for name, learner in learners.LEARNERS.items():
        run = folder / "runs" / name
        training = pl.read_parquet(run / ("reward" if name == "best_of" else "") / "training.parquet")
        assert training["step"].max() == 2 * learner.longer
        assert (run / "policy").is_dir() == (name != "best_of")
        assert made[name].values.shape == (4, 2)
        assert made[name].values[:, 1].tolist() == made["dpo"].values[:, 1].tolist()
        assert made[name].examples > 0


def test_all_but_cross_policy_learn_from_the_same_tables(made: dict[str, learners.Learned], folder: Path) -> None:
    tables = [f"{name}.parquet" for name in ("completions", "feedback", "ratings", "pairs")]
    for name, table in itertools.product(made, tables):
        same = (folder / "runs" / name / table).read_bytes() == (folder / "runs/start" / table).read_bytes()
        assert same == (name != "cross_policy")


@pytest.mark.usefixtures("made")
def test_cross_policy_has_as_many_completions_half_of_them_the_base_models_of_the_run(folder: Path) -> None:
    start, crossed = (
        pl.read_parquet(folder / "runs" / name / "completions.parquet", columns=["completion_id", "text", "policy"])
        for name in ("start", "cross_policy")
    )
    assert len(start) == len(crossed)
    by_base = crossed.filter(pl.col("policy").is_in(start["policy"].implode()))
    assert len(by_base) == len(crossed) / 2
    assert by_base.join(start, on=["completion_id", "text", "policy"]).height == len(by_base)
    pairs = pl.read_parquet(folder / "runs/cross_policy/pairs.parquet").select("chosen_id", "rejected_id")
    own = set(by_base["completion_id"])
    assert len(pairs)
    assert all((chosen in own) != (rejected in own) for chosen, rejected in pairs.iter_rows())


def test_the_table_is_of_means_over_prompts_and_seeds() -> None:
    def learned(gain: float, base: float) -> learners.Learned:
        values = np.column_stack([np.full(8, base + gain), np.full(8, base)])
        return learners.Learned(values, 5, 1.0)

    rows = list(learners.table({"dpo": [learned(0.1, 0.5), learned(0.3, 0.4)], "kto": [learned(0.5, 0.5)] * 2}))[2:]
    assert rows == [
        "| `dpo` | 5, 5 pairs | 0.600, 0.700 | +0.200 [+0.200, +0.200] | 0.071 |  | 1 |",
        "| `kto` | 5, 5 completions | 1.000, 1.000 | +0.500 [+0.500, +0.500] | 0.000 | +0.350 [+0.350, +0.350] | 1 |",
    ]
