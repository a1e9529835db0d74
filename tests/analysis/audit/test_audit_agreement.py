"""Each statistic against scipy, scikit-learn and double loops; intervals against exact bootstraps and simulation."""

import numpy as np
import polars as pl
import pytest
from made import drawn, lengths, pairs_of
from scipy.stats import kendalltau
from sklearn.metrics import roc_auc_score

from analysis.audit import agreement, ceiling, curves
from analysis.audit.pairs import Pairs


def test_pair_agreement_counts_ties_half_and_leaves_out_what_is_not_rated() -> None:
    pairs = pairs_of([(0, 1, 1), (2, 1, 1), (2, 0, 0), (3, 4, 1), (4, 5, 1)], prompts=[0, 0, 0, 1, 1])
    found = agreement.compare(np.array([3.0, 1.0, 1.0, 2.0, 5.0, np.nan]), pairs)
    assert found.delta.tolist()[:3] == [2.0, 0.0, -3.0]
    assert found.agree.tolist() == [1.0, 0.5, 0.0, 0.5]
    assert found.known.tolist() == [True, True, True, False]


def test_deltas_are_rounded_as_pairing_rounds_them() -> None:
    found = agreement.compare(np.array([0.1 + 0.2, 0.3]), pairs_of([(0, 1, 1)]))
    assert found.agree.tolist() == [0.5]


def test_tau_b_of_one_prompt_is_scipys() -> None:
    draw = np.random.default_rng(1)
    gold, values = draw.integers(0, 5, 40), draw.integers(0, 4, 40).astype(float)
    told = [(i, j, int(gold[i] != gold[j])) if gold[i] >= gold[j] else (j, i, 1) for i in range(40) for j in range(i)]
    found = agreement.tau_b(values, pairs_of(told))
    assert found.value == pytest.approx(kendalltau(gold, values).statistic)


def test_tau_b_is_pooled_over_prompts() -> None:
    pairs, values = drawn(prompts=30, quality=0.5, ties=True)
    concordant = discordant = by_truth = by_rating = 0
    for better, worse, compared in zip(pairs.better, pairs.worse, pairs.compared, strict=True):
        sign = np.sign(values[better] - values[worse])
        concordant += int(compared and sign > 0)
        discordant += int(compared and sign < 0)
        by_truth += int(compared)
        by_rating += int(sign != 0)
    assert agreement.tau_b(values, pairs).value == pytest.approx(
        (concordant - discordant) / np.sqrt(by_truth * by_rating)
    )


def test_auc_is_scikit_learns() -> None:
    pairs, values = drawn(prompts=50, quality=0.5, ties=True)
    kept = pairs.compared
    scores = np.concatenate([values[pairs.better[kept]], values[pairs.worse[kept]]])
    labels = np.repeat([1, 0], np.count_nonzero(kept))
    assert agreement.auc(values, pairs).value == pytest.approx(roc_auc_score(labels, scores))


def test_auc_of_unrated_completions_is_that_of_the_others() -> None:
    pairs, values = drawn(prompts=50, quality=0.5)
    values[::5] = np.nan
    kept = pairs.compared & np.isfinite(values[pairs.better]) & np.isfinite(values[pairs.worse])
    scores = np.concatenate([values[pairs.better[kept]], values[pairs.worse[kept]]])
    expected = roc_auc_score(np.repeat([1, 0], np.count_nonzero(kept)), scores)
    assert agreement.auc(values, pairs).value == pytest.approx(expected)


def test_the_linear_resamples_of_auc_give_the_interval_of_an_exact_bootstrap() -> None:
    pairs, values = drawn(prompts=150, quality=0.6)
    generator = np.random.default_rng(3)
    exact = []
    for _ in range(400):
        taken = np.concatenate([np.flatnonzero(pairs.prompt == p) for p in generator.integers(0, 150, 150)])
        taken = taken[pairs.compared[taken]]
        scores = np.concatenate([values[pairs.better[taken]], values[pairs.worse[taken]]])
        exact.append(roc_auc_score(np.repeat([1, 0], len(taken)), scores))
    assert agreement.auc(values, pairs).interval == pytest.approx(np.quantile(exact, [0.025, 0.975]), abs=0.01)


def test_intervals_are_of_prompts_and_not_of_pairs() -> None:
    """A prompt whose pairs all agree or all disagree counts once: 50 coins, not 500."""
    coins = np.random.default_rng(4).integers(0, 2, 50)
    prompt = np.repeat(np.arange(50), 10)
    agree = coins[prompt].astype(float)
    found = agreement.means({"all": (agree, np.ones(500, bool))}, prompt, 50)["all"]
    error = 1.96 * np.sqrt(coins.mean() * (1 - coins.mean()) / 50)
    low, high = found.interval
    assert (high - low) / 2 == pytest.approx(error, rel=0.15)


def test_intervals_cover_what_was_put_in() -> None:
    """Pairs of a prompt share its difficulty; the true agreement is the mean of a beta distribution, 0.6."""
    generator = np.random.default_rng(5)
    prompt = np.repeat(np.arange(60), 4)
    covered = 0
    for _ in range(200):
        agree = (generator.random(240) < generator.beta(3, 2, 60)[prompt]).astype(float)
        low, high = agreement.means({"all": (agree, np.ones(240, bool))}, prompt, 60)["all"].interval
        covered += low <= 0.6 <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_differences_are_of_the_same_resamples() -> None:
    pairs, values = drawn(prompts=80, quality=0.5)
    one = agreement.compare(values, pairs)
    gain = {"gain": (one.agree - one.agree, one.known), "one": (one.agree, one.known)}
    found = agreement.means(gain, pairs.prompt[pairs.compared], pairs.prompts)
    assert found["gain"].interval == (0.0, 0.0)
    again = agreement.means({"one": gain["one"]}, pairs.prompt[pairs.compared], pairs.prompts)
    assert np.array_equal(again["one"].draws, found["one"].draws)


def with_votes(*votes: tuple[int, int, int]) -> Pairs:
    return pairs_of([(2 * i, 2 * i + 1, 1) for i in range(len(votes))], prompts=range(len(votes)), votes=votes)


def double_loop(votes: tuple[int, int, int]) -> tuple[float, float]:
    """One annotator against the majority of the others, and against each other one."""
    said = [1] * votes[0] + [-1] * votes[1] + [0] * votes[2]
    one, two = [], []
    for i, own in enumerate(said):
        others = [other for j, other in enumerate(said) if j != i]
        if lead := np.sign(sum(others)):
            one.append((1 + own * lead) / 2)
        two += [(1 + own * other) / 2 for other in others if other]
    return float(np.mean(one)) if one else np.nan, float(np.mean(two)) if two else np.nan


@pytest.mark.parametrize(
    "votes", [(2, 0, 0), (1, 1, 0), (2, 1, 0), (3, 1, 1), (1, 2, 2), (0, 4, 1), (1, 0, 1), (0, 0, 2)]
)
def test_the_ceiling_is_what_a_double_loop_over_annotators_says(votes: tuple[int, int, int]) -> None:
    found = ceiling.measure(with_votes(votes))
    assert found is not None
    assert (found.one.value, found.two.value) == pytest.approx(double_loop(votes), nan_ok=True)


def test_the_ceiling_by_hand() -> None:
    """2:0 agrees wholly, 1:1 not at all, a tie beside a vote half; a single annotator says nothing."""
    found = ceiling.measure(with_votes((2, 0, 0), (1, 1, 0), (1, 0, 1), (1, 0, 0)))
    assert found is not None
    assert (found.one.value, found.pairs) == (pytest.approx(0.5), 3)
    assert ceiling.measure(with_votes((1, 0, 0), (0, 0, 1))) is None
    assert ceiling.measure(pairs_of([(0, 1, 1)])) is None


def test_the_curve_goes_up_where_larger_deltas_are_safer() -> None:
    pairs, values = drawn(prompts=400, quality=1.0)
    found = agreement.compare(values, pairs)
    parts = list(curves.by_delta(found))
    shares = [found.agree[which].mean() for _, which in parts]
    assert len(parts) == curves.BINS
    assert shares[-1] > 0.9 > 0.65 > shares[0]
    assert parts[0][0]["from"] == 0
    assert parts[-1][0]["to"] == 1
    above, below = curves.halves(found)
    assert found.agree[above].mean() > found.agree[below].mean() + 0.1
    assert not (above & below).any()


def test_equal_deltas_are_never_in_two_parts_of_the_curve() -> None:
    pairs, values = drawn(prompts=300, quality=1.0, ties=True)
    found = agreement.compare(values, pairs)
    sizes = [set(np.abs(found.delta[which]).tolist()) for _, which in curves.by_delta(found)]
    assert sum(map(len, sizes)) == len(set.union(*sizes))


def test_length_is_right_where_the_longer_is_preferred_and_wrong_where_not() -> None:
    pairs, _ = drawn(prompts=200, quality=0.0)
    found = agreement.compare(lengths(800), pairs)
    by_length = {about["preferred"]: found.agree[which] for about, which in curves.by_length(found, pairs)}
    assert set(by_length) == set(curves.LENGTHS)
    assert by_length["far longer"].min() == by_length["longer"].min() == 1.0
    assert by_length["far shorter"].max() == by_length["shorter"].max() == 0.0


def test_rare_sources_are_one() -> None:
    count = 60
    sources = ["a"] * 20 + ["b"] * 20 + [f"rare {i}" for i in range(20)]
    pairs = pairs_of([(2 * i, 2 * i + 1, 1) for i in range(count)], prompts=range(count), sources=sources)
    parts = list(curves.by_source(agreement.compare(np.arange(2.0 * count), pairs), pairs))
    assert [about["source"] for about, _ in parts[:2]] == ["a", "b"]
    assert parts[-1][0]["source"] == "all others"
    assert sum(np.count_nonzero(which) for _, which in parts) == count
    assert pl.Series([about["source"] for about, _ in parts]).is_unique().all()
