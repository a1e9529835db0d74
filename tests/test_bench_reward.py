"""The comparison of reward losses (bench/reward) at a tiny size, and what its figures rest on."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from bench.reward import __main__ as bench
from bench.reward import compare, learn, real, summary
from bench.reward.graded import Graded, of_ratings, standing
from bench.reward.summary import interval

MEASURED = ("accuracy", "nll", "calibration", "tau")
OF_LABELS = ("graded_nll",)


@pytest.fixture
def few_penalties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time goes into choosing among them."""
    monkeypatch.setattr(learn, "PENALTIES", (100.0, 1.0))


def drawn(prompts: int = 40, each: int = 4, noise: float = 0.5) -> Graded:
    """Whole-number ratings that follow two of four features, and the truth without noise as the reference."""
    made = np.random.default_rng(0)
    features = made.normal(size=(prompts * each, 4))
    truth = features @ np.array([1.0, 0.5, 0.0, 0.0])
    ratings = np.round(truth + noise * made.normal(size=len(truth)))
    names = pl.Series(np.repeat([f"p{i:03d}" for i in range(prompts)], each))
    return of_ratings(features, np.ones(4), features[:, 3], names, ratings, {"truth": truth})


def rows_of(data: Graded, seeds: int, shares: tuple[float, ...]) -> pl.DataFrame:
    rows = [row for seed in range(seeds) for row in compare.compared(data, seed, shares)]
    return pl.DataFrame(rows, orient="row").with_columns(data=pl.lit("drawn"))


def check(rows: pl.DataFrame, losses: tuple[str, ...], references: tuple[str, ...], shares: tuple[float, ...]) -> None:
    """Every number is there once for each seed, and finite; intervals hold their means."""
    wanted = {
        (rows["data"][0], reference, share, loss, measure)
        for share, loss, reference in itertools.product(shares, losses, references)
        for measure in (*MEASURED, *(OF_LABELS if reference == compare.LABELS else ()))
    }
    found = summary.summary(rows.filter(pl.col("measure") != "penalty"))
    assert set(found.select(summary.KEY).iter_rows()) == wanted
    assert len(rows) == len(rows.unique([*summary.KEY, "seed"]))
    assert rows["value"].is_finite().all()
    for of in ("", "over_"):
        known = found.drop_nulls(f"{of}mean")
        assert (known[f"{of}low"] <= known[f"{of}mean"]).all()
        assert (known[f"{of}mean"] <= known[f"{of}high"]).all()
    assert set(found.filter(pl.col("over_mean").is_null())["loss"]) == {summary.PLAIN}


@pytest.mark.usefixtures("few_penalties")
def test_every_loss_is_measured_on_the_same_splits_and_learns() -> None:
    rows = rows_of(drawn(), 2, (0.3, 1.0))
    check(rows, (*learn.LOSSES, learn.LENGTH), (compare.LABELS, "truth"), (0.3, 1.0))
    whole = rows.filter(share=1.0, reference="truth", measure="accuracy")
    assert whole.filter(pl.col("loss") != learn.LENGTH)["value"].min() > 0.75  # type: ignore[operator]
    assert whole.filter(loss=learn.LENGTH)["value"].mean() < 0.65  # type: ignore[operator]


def test_nothing_is_learned_from_held_out_prompts() -> None:
    data = drawn()
    learned, held = compare.split(data, 0)
    assert set(learned) | set(held) == set(range(40))
    assert not set(learned) & set(held)
    out, of_pair = np.isin(data.prompt, held), np.isin(data.prompt_of_pair, held)
    other = dataclasses.replace(
        data, learned=np.where(of_pair, -data.learned, data.learned), value=np.where(out, -data.value, data.value)
    )
    cuts = learn.cuts_of(data, learned)
    assert learn.cuts_of(other, learned) == cuts
    for loss in ("ordinal_nll", "listwise"):
        assert learn.penalty_for(data, learned, loss, cuts) == learn.penalty_for(other, learned, loss, cuts)
        own, same = (learn.fitted(each, learned, loss, cuts, 10.0) for each in (data, other))
        assert np.array_equal(own.reward, same.reward)
        assert own.thresholds.tolist() == same.thresholds.tolist()


def test_a_strong_penalty_learns_nothing_and_grades_are_as_likely_as_they_are_frequent() -> None:
    data = drawn()
    learned, _ = compare.split(data, 0)
    cuts = learn.cuts_of(data, learned)
    found = learn.fitted(data, learned, "bradley_terry", cuts, 1e12)
    assert np.abs(found.reward).max() < 1e-6
    _, batch = learn.examples(data, learned, "ordinal_nll", cuts)
    count = np.bincount(batch["target"].numpy().astype(int), minlength=5)
    both = (count + count[::-1]) / (2 * count.sum())
    assert compare.graded_nll(data, found, learned, cuts) == pytest.approx(
        -(count / count.sum()) @ np.log(both), abs=1e-4
    )


def test_tau_is_scipys_within_a_prompt() -> None:
    data, reward = drawn(noise=1.0), np.round(np.random.default_rng(1).normal(size=160), 1)
    ratings = data.value.reshape(40, 4)
    by_prompt = [stats.kendalltau(*each).statistic for each in zip(reward.reshape(40, 4), ratings, strict=True)]
    by_hand = [tau for tau, each in zip(by_prompt, ratings, strict=True) if len(set(each)) > 1]
    found = compare.tau_b(data, reward, np.arange(40), data.learned)
    assert found == pytest.approx(np.mean(by_hand))


def test_an_interval_is_students_widened_for_splits_that_share_their_prompts() -> None:
    values = np.array([0.6, 0.7, 0.8])
    half = 4.3027 * np.sqrt((1 / 3 + 0.25) * 0.01)
    assert interval(values) == pytest.approx((0.7, 0.7 - half, 0.7 + half), abs=1e-5)
    assert interval(values[:1]) == (0.6, 0.6, 0.6)


def test_who_wins_more_pairs_stands_higher() -> None:
    first, second = np.array([0, 0, 1]), np.array([1, 2, 2])
    found = standing(first, second, np.array([1.0, 0.0, -2.0]), 4)
    assert found[:3].tolist() == [0.5, -1.0, 0.5]
    assert np.isnan(found[3])


@pytest.mark.usefixtures("few_penalties")
@pytest.mark.skipif(not real.DATA.is_dir(), reason="the published preferences are not beside the checkout")
def test_published_preferences_of_people_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["qa_feedback", "--limit", "12", "--shares", "1", "--work", str(tmp_path)]
    bench.main([*tiny, "--seeds", "1"])
    capsys.readouterr()
    bench.main([*tiny, "--seeds", "2", "--resume"])
    rows = pl.read_parquet(tmp_path / "qa_feedback.parquet")
    assert rows["seed"].unique().to_list() == [0, 1]
    check(rows, (*learn.LOSSES, learn.LENGTH), (compare.LABELS,), (1.0,))
    assert capsys.readouterr().out.count("| qa_feedback | labels | ") == 2 * len(summary.MEASURES)


@pytest.mark.usefixtures("few_penalties")
def test_the_demo_is_compared_with_its_truth_and_so_is_what_is_trained(tmp_path: Path) -> None:
    bench.main([*"demo_number lora --limit 12 --seeds 1 --shares 1 --steps 1 --work".split(), str(tmp_path)])
    for name, more in (("demo_number", (learn.LENGTH,)), ("lora", ())):
        rows = pl.read_parquet(tmp_path / f"{name}.parquet")
        check(rows, (*learn.LOSSES, *more), (compare.LABELS, "coverage"), (1.0,))
