"""Fitting: what is expected of the chosen rating and gap comes true on fresh data, and the lines give such pairs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from made import drawn, gold, rated

from analysis.audit import fit
from analysis.audit.agreement import compare
from analysis.audit.pairs import Pairs
from analysis.audit.rated import Rated
from builder import params
from builder.compare import judged_pairs
from builder.errors import InputError, UsageError
from builder.pair import select

Wim = Callable[..., int]


def run_of(rows: int) -> pl.DataFrame:
    """Completions of different texts, four a prompt."""
    names = [f"{i:05d}" for i in range(rows)]
    return pl.DataFrame({"completion_id": names, "prompt_id": [f"p{i // 4:05d}" for i in range(rows)], "text": names})


def fitted(truth: Pairs, ratings: list[Rated], sets: Sequence[str] = ("pair.strategy=all",), **wish: Any) -> Any:
    on_pairs = {each.name: compare(each.values, truth) for each in ratings}
    settings = params.load(None, sets)
    return fit.fit(ratings, on_pairs, truth, run_of(len(ratings[0].values)), settings, fit.wanted(**wish))


def test_an_expected_agreement_comes_true_on_fresh_data() -> None:
    errors = []
    for seed in range(5):
        pairs, values = drawn(prompts=200, quality=0.8, seed=seed)
        noise = [rated(f"mixed:0.{i}", np.random.default_rng(i).normal(0, 1, 800), ["number", "text"]) for i in (1, 2)]
        found = fitted(pairs, [rated("numerical", values), *noise], agreement=0.8)
        assert found["rating"] == "numerical"
        assert found["expected"]["low"] < 0.8 < found["expected"]["high"] + 0.02
        fresh, again = drawn(prompts=2000, quality=0.8, seed=seed + 100)
        own = compare(again, fresh)
        kept = np.abs(own.delta) > found["set"]["pair"]["min_gap"]
        errors.append(found["expected"]["agreement"] - own.agree[kept].mean())
    assert abs(np.mean(errors)) < 0.02
    assert np.max(np.abs(errors)) < 0.05


def test_a_wanted_agreement_takes_as_many_pairs_as_there_are() -> None:
    pairs, values = drawn(prompts=300, quality=1.0)
    low, high = (fitted(pairs, [rated("numerical", values)], agreement=share) for share in (0.75, 0.9))
    assert low["set"]["pair"]["min_gap"] < high["set"]["pair"]["min_gap"]
    assert low["pairs"] > high["pairs"]
    assert low["reached"]


def test_what_cannot_be_reached_is_said() -> None:
    pairs, _ = drawn(prompts=100, quality=0.0)
    coin = rated("numerical", np.random.default_rng(8).normal(0, 1, 400))
    found = fitted(pairs, [coin], agreement=0.95)
    assert not found["reached"]
    assert not fitted(pairs, [coin], pairs=10_000)["reached"]


def test_a_wanted_number_of_pairs_is_met_by_the_widest_gap() -> None:
    pairs, values = drawn(prompts=100, quality=1.0)
    found = fitted(pairs, [rated("numerical", values)], pairs=150)
    deltas = np.abs(values.reshape(-1, 4)[:, [0, 0, 0, 1, 1, 2]] - values.reshape(-1, 4)[:, [1, 2, 3, 2, 3, 3]]).ravel()
    gap = found["set"]["pair"]["min_gap"]
    assert found["pairs"] == np.count_nonzero(deltas > gap) >= 150
    assert np.count_nonzero(deltas > gap + 2e-4) <= 150
    assert (
        found["expected"]["agreement"] > fitted(pairs, [rated("numerical", values)], pairs=600)["expected"]["agreement"]
    )


@pytest.mark.parametrize("strategy", ["best_worst", "all", "best_random", "adjacent"])
def test_the_pairs_told_are_those_that_pairing_makes(strategy: str) -> None:
    truth, values = drawn(prompts=100, quality=1.0)
    found = fitted(truth, [rated("numerical", values)], pairs=60, sets=[f"pair.strategy={strategy}", "pair.ties=keep"])
    assert found["set"]["pair"]["ties"] == "drop"
    gap = found["set"]["pair"]["min_gap"]
    settings = params.load(None, [f"pair.strategy={strategy}", f"pair.min_gap={gap}"])
    judged = judged_pairs(run_of(400).with_columns(pl.col("text").hash(), value=values))
    assert len(select(judged, settings.pair, settings.seed)) == found["pairs"] >= 60


def test_the_better_rating_gives_the_wanted_number() -> None:
    pairs, poor = drawn(prompts=150, quality=0.3)
    found = fitted(pairs, [rated("numerical", poor), rated("calibrated", gold(600), ["text"])], pairs=300)
    assert found["rating"] == "calibrated"
    assert found["expected"]["agreement"] == 1.0


def test_too_few_prompts_are_not_fitted_on() -> None:
    pairs, values = drawn(prompts=5, quality=1.0)
    with pytest.raises(InputError, match="pairs of 5 prompts; fitting needs 20"):
        fitted(pairs, [rated("numerical", values)], agreement=0.8)


def test_without_a_rating_there_is_nothing_to_fit() -> None:
    pairs, values = drawn(prompts=30, quality=1.0)
    with pytest.raises(InputError, match="there is no rating to choose from"):
        fitted(pairs, [rated("length", values, uses=["length"], kind="baseline")], agreement=0.8)


@pytest.mark.parametrize("wish", [{"agreement": 0.3}, {"agreement": 1.0}, {"pairs": 0}])
def test_wishes_that_make_no_sense_are_refused(wish: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        fit.wanted(**wish)


def test_the_lines_give_the_pairs_that_were_told(
    embedded: Path, wim: Wim, capsys: pytest.CaptureFixture[str], truth: Path, tmp_path: Path
) -> None:
    """The lines are written into params.yaml; rating and pairing with them makes as many pairs as the fit said."""
    assert wim("audit", embedded, "--truth", truth, "--fit", "--pairs", 20, "--json") == 0
    found = yaml.safe_load(capsys.readouterr().out)["fit"]
    assert found["reached"]
    (tmp_path / "params.yaml").write_text(found["yaml"] + "\n")
    assert wim("rate", embedded) == 0
    capsys.readouterr()
    assert wim("pair", embedded, "--json") == 0
    assert yaml.safe_load(capsys.readouterr().out)["pairs"] == found["pairs"]
