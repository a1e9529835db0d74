"""Losses and thresholds of the reward model: gradients, independent implementations, recovery of a known truth."""

import math

import numpy as np
import pytest
import torch
from graded import TRUE, Drawn, draw, fitted, preferred
from torch.nn.functional import softplus

from builder.reward_model.head import Head
from builder.reward_model.thresholds import Thresholds
from train.reward_model import fit, losses, measure

ORDINAL = ("ordinal_nll", "all_threshold")
LOSSES = ("bradley_terry", "margin", *ORDINAL, "listwise")


def double(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).requires_grad_()


def lists_of(*best: list[bool]) -> tuple[torch.Tensor, torch.Tensor]:
    places = [place for place, each in enumerate(best) for _ in each]
    return torch.tensor(places), torch.tensor([one for each in best for one in each])


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_finite_differences(loss: str) -> None:
    """Of every loss to rewards, and of the ordinal ones to the thresholds' own parameters."""
    lists, best = lists_of(*[[True, False]] * 6) if loss != "listwise" else lists_of([True, False], [True, True, False])
    target = torch.tensor([0.3, 1.0, 0.0, 2.0, 0.5, 0.1]) if loss == "margin" else torch.tensor([0, 1, 2, 3, 4, 4])
    thresholds = Thresholds(5).double()

    def of(rewards: torch.Tensor, gaps: torch.Tensor) -> torch.Tensor:
        above = softplus(gaps).cumsum(0)
        batch = {"lists": lists, "best": best, "target": target}
        return losses.of_batch(loss, rewards, batch, torch.cat([-above.flip(0), above]))

    rewards = (2 * double(len(lists))).detach().requires_grad_()
    assert torch.autograd.gradcheck(of, (rewards, thresholds.gaps.detach().requires_grad_(loss in ORDINAL)))


def test_gradients_of_the_gated_heads_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    head = Head(3, aspects=2, grades=4).double()
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    drawn = draw(5, 3, 1, (-1.0, 0.0, 1.0))
    batch = drawn.batch | {"aspects": torch.tensor([[0.5, math.nan]] * 10, dtype=torch.float64)}
    names = [name for name, _ in head.named_parameters()]

    def of(prompts: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        def rewards(last: torch.Tensor) -> torch.Tensor:
            values = last @ given["weight"].T + given["bias"]
            hidden = (prompts @ given["gate.hidden.weight"].T + given["gate.hidden.bias"]).relu()
            gate = (hidden @ given["gate.out.weight"].T + given["gate.out.bias"]).softmax(-1)
            return (given["gate.log_scale"].exp() * gate * values).sum(1)

        given = dict(zip(names, weights, strict=True))
        return rewards(drawn.features)

    prompts = double(10, 3, seed=2)
    values = of(prompts, *head.parameters())
    assert torch.allclose(values, head.rewards(drawn.features, prompts).reward)
    objective = fit.objective(head, drawn.features, batch, "ordinal_nll", prompts)
    slopes = torch.autograd.grad(objective, list(head.parameters()))
    for weight, slope in zip(head.parameters(), slopes, strict=True):
        place = int(slope.abs().argmax())
        with torch.no_grad():
            moved = []
            for step in (1e-6, -1e-6):
                weight.view(-1)[place] += step
                moved.append(fit.objective(head, drawn.features, batch, "ordinal_nll", prompts).item())
                weight.view(-1)[place] -= step
        assert slope.view(-1)[place].item() == pytest.approx((moved[0] - moved[1]) / 2e-6, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("grades", [2, 3, 4, 5, 8])
def test_thresholds_increase_and_are_symmetric_whatever_is_learned(grades: int) -> None:
    thresholds = Thresholds(grades)
    for _ in range(3):
        found = thresholds()
        assert len(found) == grades - 1
        assert torch.equal(found, -found.flip(0))
        assert (found.diff() > 0).all()
        with torch.no_grad():
            thresholds.gaps.add_(3 * torch.randn_like(thresholds.gaps))


def test_thresholds_begin_where_the_grades_are_as_likely_as_they_are_frequent() -> None:
    thresholds = Thresholds(5).double()
    counts = [0.0, 10.0, 200.0, 300.0, 490.0]
    thresholds.begin_at(counts)
    nothing, grades = torch.zeros(5, dtype=torch.float64), torch.arange(5)
    both = (np.array(counts) + counts[::-1]) / 2000
    assert losses.ordinal_nll(nothing, grades, thresholds()).neg().exp().tolist() == pytest.approx(both, abs=1e-3)


def test_a_pair_told_the_other_way_round_is_as_likely() -> None:
    difference, limits = torch.linspace(-4, 4, 9, dtype=torch.float64), Thresholds(5).double()()
    for loss in (losses.ordinal_nll, losses.all_threshold):
        for grade in range(5):
            grades = torch.full((9,), grade)
            assert torch.allclose(loss(difference, grades, limits), loss(-difference, 4 - grades, limits))


def test_the_probabilities_of_all_grades_add_up_and_none_is_lost_far_from_0() -> None:
    limits = torch.tensor(TRUE, dtype=torch.float64)
    for difference in (-3.0, 0.0, 0.7):
        row = torch.full((5,), difference, dtype=torch.float64)
        assert losses.ordinal_nll(row, torch.arange(5), limits).neg().exp().sum().item() == pytest.approx(1)
    far = torch.tensor([-600.0, 600.0, 600.0], dtype=torch.float64, requires_grad=True)
    found = losses.ordinal_nll(far, torch.tensor([4, 0, 2]), limits)
    found.sum().backward()
    assert found.detach().tolist() == pytest.approx([601.5, 601.5, 599.5 - math.log(-math.expm1(-1))])
    assert torch.isfinite(far.grad).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("aspects", [0, 2])
def test_the_head_computes_in_32_bits_where_the_model_is_trained_in_16(aspects: int) -> None:
    torch.manual_seed(0)
    head = Head(64, aspects)
    torch.nn.init.normal_(head.weight)
    states = torch.randn(5, 64)
    exact = head.rewards(states, states).reward
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head.rewards(states, states).reward, exact)


def test_a_grade_without_room_is_unlikely_and_not_impossible() -> None:
    """As where no pair that is learned from has it, and one that is held out has."""
    difference = torch.zeros(2, requires_grad=True)
    found = losses.ordinal_nll(difference, torch.tensor([3, 4]), torch.tensor([-0.5, -0.5, 0.5, 0.5]))
    found.sum().backward()
    assert 50 < found[0].item() < 100
    assert torch.isfinite(difference.grad).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", ORDINAL)
def test_two_grades_are_bradley_terry(loss: str) -> None:
    difference, limits = double(7), Thresholds(2).double()()
    found = getattr(losses, loss)(difference, torch.ones(7, dtype=torch.long), limits)
    assert torch.allclose(found, losses.bradley_terry(difference))


def test_a_margin_of_0_is_bradley_terry() -> None:
    difference = double(7)
    assert torch.equal(losses.margin(difference, torch.zeros(7)), losses.bradley_terry(difference))
    assert (losses.margin(difference, torch.ones(7)) > losses.bradley_terry(difference)).all()


def test_listwise_is_the_papers_equation_8_with_its_minus_sign() -> None:
    rewards, (lists, best) = torch.tensor([1.0, 3.0, 0.5, -1.0, 2.0]), lists_of([False, True, False], [True, False])
    found = losses.listwise(rewards, lists, best)
    by_hand = [
        -math.log(math.exp(3) / (math.exp(1) + math.exp(3) + math.exp(0.5))),
        -math.log(math.exp(-1) / (math.exp(-1) + math.exp(2))),
    ]
    assert found.tolist() == pytest.approx(by_hand, rel=1e-6)
    assert (found > 0).all()


def test_ties_of_the_best_share_it_and_a_list_of_two_is_bradley_terry() -> None:
    rewards, (lists, best) = double(3), lists_of([True, True, False])
    each = [losses.listwise(rewards, lists, torch.tensor(b)) for b in ([True, False, False], [False, True, False])]
    assert torch.allclose(losses.listwise(rewards, lists, best), (each[0] + each[1]) / 2)
    pair = losses.listwise(rewards[:2], lists[:2], torch.tensor([True, False]))
    assert torch.allclose(pair, losses.bradley_terry(rewards[:1] - rewards[1:2]))


def test_the_likelihood_is_that_of_statsmodels() -> None:
    """OrderedModel, whose thresholds are the first and the logarithms of the gaps."""
    model = pytest.importorskip("statsmodels.miscmodels.ordinal_model")
    drawn = draw(300, 3, 0)
    x, y = drawn.difference.numpy(), drawn.batch["target"].numpy()
    ordered = model.OrderedModel(y, x, distr="logit")
    weight = np.array([0.8, 1.2, 0.3])
    given = np.concatenate([weight, [TRUE[0]], np.log(np.diff(TRUE))])
    ours = losses.ordinal_nll(torch.from_numpy(x @ weight), drawn.batch["target"], torch.tensor(TRUE).double())
    assert ours.sum().item() == pytest.approx(-ordered.loglike(given), rel=1e-10)


def test_the_fitted_model_is_that_of_statsmodels() -> None:
    """Its thresholds are free: on pairs told both ways round they come out symmetric, as ours are by construction."""
    model = pytest.importorskip("statsmodels.miscmodels.ordinal_model")
    drawn = draw(400, 3, 1)
    x, y = drawn.difference.numpy(), drawn.batch["target"].numpy()
    ordered = model.OrderedModel(np.concatenate([y, 4 - y]), np.concatenate([x, -x]), distr="logit")
    theirs = ordered.fit(method="bfgs", disp=False, maxiter=500, gtol=1e-8)
    limits = ordered.transform_threshold_params(theirs.params)[1:-1]
    head = fitted(drawn, "ordinal_nll", grades=5)
    assert head.weight.detach()[0].tolist() == pytest.approx(theirs.params[:3].tolist(), abs=2e-4)
    assert head.thresholds is not None
    assert head.thresholds().tolist() == pytest.approx(limits.tolist(), abs=2e-4)


def test_the_all_threshold_loss_is_that_of_mord() -> None:
    """mord's LogisticAT minimises the sum of the same loss, without a penalty at alpha 0, its thresholds free."""
    mord = pytest.importorskip("mord")
    drawn = draw(400, 3, 2)
    x, y = drawn.difference.numpy(), drawn.batch["target"].numpy()
    theirs = mord.LogisticAT(alpha=0.0, max_iter=20_000).fit(np.concatenate([x, -x]), np.concatenate([y, 4 - y]))
    ours = losses.all_threshold(
        torch.from_numpy(x @ theirs.coef_), drawn.batch["target"], torch.from_numpy(theirs.theta_)
    )
    head = fitted(drawn, "all_threshold", grades=5)
    assert head.thresholds is not None
    assert head.weight.detach()[0].tolist() == pytest.approx(theirs.coef_.tolist(), abs=2e-3)
    assert head.thresholds().tolist() == pytest.approx(theirs.theta_.tolist(), abs=2e-3)
    found = fit.objective(head, drawn.features, drawn.batch, "all_threshold").item()
    assert ours.mean().item() == pytest.approx(found, abs=1e-6)


def interval(drawn: Drawn, head: Head) -> tuple[np.ndarray, np.ndarray]:
    """The thresholds above 0 of a fit by likelihood, and half the width of their 95% intervals, by the information."""
    assert head.thresholds is not None
    found = torch.cat([head.weight.detach()[0], head.thresholds().detach()[2:]])

    def total(given: torch.Tensor) -> torch.Tensor:
        above = given[-2:]
        difference = drawn.difference @ given[:-2]
        return losses.ordinal_nll(difference, drawn.batch["target"], torch.cat([-above.flip(0), above])).sum()

    information = torch.autograd.functional.hessian(total, found)  # type: ignore[no-untyped-call]
    spread = torch.linalg.inv(information).diagonal().sqrt()
    return found[-2:].numpy(), 1.96 * spread[-2:].numpy()


def test_known_thresholds_lie_in_their_95_percent_intervals() -> None:
    """In 95% of 60 draws of 400 pairs, but for what 120 intervals vary by themselves (standard error 0.02)."""
    covered = []
    for seed in range(60):
        drawn = draw(400, 3, seed)
        found, width = interval(drawn, fitted(drawn, "ordinal_nll", grades=5))
        covered += [abs(found[i] - TRUE[2 + i]) <= width[i] for i in range(2)]
    assert 0.88 <= np.mean(covered) <= 1


def thresholds_after(head: Head, learned: Drawn) -> torch.Tensor:
    """The most likely thresholds of graded pairs under the rewards of a head that has none."""
    after = Head(1, grades=5).double()
    after.weight.requires_grad_(False).fill_(1.0)
    fit.fit(after, learned.features @ head.weight.detach().T, learned.batch, "ordinal_nll")
    assert after.thresholds is not None
    return after.thresholds().detach()


def graded_nll(head: Head, limits: torch.Tensor, held: Drawn) -> float:
    difference = held.difference @ head.weight.detach()[0]
    return losses.ordinal_nll(difference, held.batch["target"], limits).mean().item()


@pytest.mark.parametrize("loss", ORDINAL)
def test_ordinal_losses_beat_bradley_terry_on_graded_data_in_held_out_likelihood(loss: str) -> None:
    """Of who is preferred; and of the grades, where Bradley-Terry gets the best thresholds of its training pairs."""
    preference, graded = [], []
    for seed in range(60):
        learned, held = draw(60, 8, seed, strength=0.4), draw(1000, 8, 1000 + seed, strength=0.4)
        plain = fitted(preferred(learned), "bradley_terry", penalty=0.01)
        ordinal = fitted(learned, loss, grades=5, penalty=0.01)
        told = preferred(held).difference
        nll = [measure.nll((told @ head.weight.detach()[0]).numpy()) for head in (plain, ordinal)]
        preference.append(nll[0] - nll[1])
        assert ordinal.thresholds is not None
        limits = ordinal.thresholds().detach()
        graded.append(graded_nll(plain, thresholds_after(plain, learned), held) - graded_nll(ordinal, limits, held))
    for gains in (preference, graded):
        assert np.mean(gains) > 2 * np.std(gains, ddof=1) / math.sqrt(len(gains))


def test_an_aspects_gate_learns_which_aspect_counts_for_which_prompt() -> None:
    """Two kinds of prompts, two aspects: one counts for each kind. One number for all could not tell them apart."""
    made, pairs = np.random.default_rng(0), 400
    kind = np.repeat(made.integers(0, 2, pairs), 2)
    values = made.normal(size=(2 * pairs, 2))
    better = values[np.arange(2 * pairs), kind].reshape(-1, 2)
    swap = (better[:, 0] < better[:, 1]).repeat(2)
    values[swap] = values[swap].reshape(-1, 2, 2)[:, ::-1].reshape(-1, 2)
    torch.manual_seed(0)
    lists, best = torch.arange(pairs).repeat_interleave(2), torch.tensor([True, False]).repeat(pairs)
    batch = {"lists": lists, "best": best, "target": torch.zeros(pairs), "aspects": torch.from_numpy(values)}
    prompts = torch.from_numpy(np.stack([kind, 1 - kind], 1).astype(np.float64))
    gated, one = Head(2, aspects=2).double(), Head(2).double()
    fit.fit(gated, torch.from_numpy(values), batch, "bradley_terry", prompts, steps=100)
    fit.fit(one, torch.from_numpy(values), batch, "bradley_terry", steps=100)
    accuracy = []
    for head in (gated, one):
        found = head.rewards(torch.from_numpy(values), prompts)
        accuracy.append(measure.accuracy((found.reward[0::2] - found.reward[1::2]).detach().numpy()))
    assert accuracy[0] > 0.95 > 0.85 > accuracy[1]
    weights = gated.rewards(torch.from_numpy(values), prompts).weights
    assert weights is not None
    assert (weights.argmax(1).numpy() == kind).all()


def test_measures_are_those_of_their_definitions() -> None:
    difference = np.array([2.0, -1.0, 0.0, 0.5])
    assert measure.accuracy(difference) == 0.625
    assert measure.nll(difference) == pytest.approx(np.mean(np.log1p(np.exp(-difference))))
    sure = np.array([3.0] * 9 + [-3.0])  # nine of ten right at a confidence of 0.953
    assert measure.calibration_error(sure) == pytest.approx(1 / (1 + math.exp(-3)) - 0.9)
    assert measure.calibration_error(np.zeros(4)) == 0
    assert measure.calibration_error(np.array([-100.0])) == pytest.approx(1)
    assert measure.nll(np.array([-800.0])) == 800
