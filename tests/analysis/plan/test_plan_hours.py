"""Hours, money and disk by hand."""

import pytest

from analysis.plan import disk, hours, work
from analysis.plan.given import Given
from analysis.plan.known import Generated, Known
from analysis.plan.prompts import Counter, Prompts
from analysis.plan.speed import Measured, Trial
from analysis.plan.work import Work
from builder import params
from builder.judging import panel

RATE = Given(gpus=8, price=2.5, rates={"complete": 2500.0, "judge": 2500.0, "train": 4000.0})
UNREAD = Counter(None, None)


def completions(prompts: Prompts, known: Known | None = None, measured: Measured | None = None) -> Work:
    return work.complete(prompts, params.load(None), known or Known(), measured)


def judged(prompts: Prompts, *sets: str, known: Known | None = None, measured: Measured | None = None) -> Work:
    settings = params.load(None, list(sets))
    (juror,) = panel.panel(settings)
    made = work.complete(prompts, settings, Known(), None)
    return work.judge(juror, prompts, made, UNREAD, known or Known(), measured)


def test_completions_by_hand(prompts: Prompts) -> None:
    made = completions(prompts)
    assert (made.rows, made.read, made.tokens, made.longest) == (240_000, 200.0, 256.0, 456)
    assert any("the most there can be" in words for words in made.told)
    how = hours.speed("complete", "complete", RATE, None, Known())
    spent = hours.spent(made, how, "complete", params.load(None), RATE)
    assert spent.hours == pytest.approx(240_000 * 256 / (2500 * 8) / 3600) == pytest.approx(0.85333, abs=1e-5)
    assert spent.cost == pytest.approx(0.85333 * 8 * 2.5, abs=1e-3)


def test_lengths_of_a_run_go_before_those_of_a_trial_and_these_before_the_limit(prompts: Prompts) -> None:
    trial = Measured(64, 20.0, 90.0, 1.0, 0.0)
    assert completions(prompts, measured=trial).tokens == 90
    known = completions(prompts, Known(complete=Generated(384, 21.0, 80.0, "llama")), trial)
    assert known.tokens == 80
    assert any("the run's 384, by llama" in words for words in known.told)


def test_a_judge_reads_the_completion_and_answers_again_what_cannot_be_read(prompts: Prompts) -> None:
    once = judged(prompts)
    assert once.rows == 240_000
    assert once.read > 200 + 256
    assert once.longest >= 200 + 256 + 256
    assert any("if all can be read" in words for words in once.told)
    assert judged(prompts, known=Known(repeated=1.25)).rows == 300_000
    assert judged(prompts, measured=Measured(8, 1.0, 1.0, 1.0, 0.0, repeated=1.5)).rows == 360_000


def test_a_judge_that_compares_is_asked_in_both_orders(prompts: Prompts) -> None:
    # Six pairs of four completions; against the first of them three.
    assert judged(prompts, "judge.name=pairwise").rows == 60_000 * 12
    assert judged(prompts, "judge.name=pairwise", "judge.compare.limit=4").rows == 60_000 * 8
    assert judged(prompts, "judge.name=pairwise", "judge.compare.against=0").rows == 60_000 * 6
    assert judged(prompts, "judge.name=pairwise").read > 200 + 2 * 256


def test_training_counts_steps_and_the_reference(prompts: Prompts) -> None:
    learned = work.train(prompts, completions(prompts), params.load(None), Known())
    steps = 938  # 60,000 pairs in batches of 64
    assert learned.rows == steps * 64
    assert learned.read == 2 * (200 + 256)
    assert learned.all_tokens == 912 * steps * 64
    assert learned.alone == pytest.approx(912 * 0.38 * 60_000)
    given = params.load(None, ["train.max_steps=20", "train.batch=16"])
    assert work.train(prompts, completions(prompts), given, Known(paired=0.5)).rows == 320
    spent = hours.spent(learned, hours.speed("train", "train", RATE, None, Known()), "train", params.load(None), RATE)
    assert (spent.gpus, spent.hours) == (1, pytest.approx((learned.all_tokens + learned.alone) / 4000 / 3600))
    assert spent.cost == pytest.approx((spent.hours or 0) * 8 * 2.5)  # the other seven are paid as well
    eight = params.load(None, ["train.launch.processes=8"])
    shared = hours.spent(learned, hours.speed("train", "train", RATE, None, Known()), "train", eight, RATE)
    assert shared.hours == pytest.approx((learned.all_tokens / 8 + learned.alone) / 4000 / 3600)


def test_one_completion_of_a_prompt_makes_no_pair(prompts: Prompts) -> None:
    single = params.load(None, ["complete.n=1"])
    assert work.train(prompts, completions(prompts), single, Known()).rows == 0
    assert work.paired(params.load(None, ["pair.strategy=all"]), Known()) == 6
    assert work.paired(params.load(None, ["pair.strategy=adjacent"]), Known()) == 3


def test_what_is_not_known_is_told_and_not_guessed(prompts: Prompts) -> None:
    how = hours.speed("embed", "embed", Given(), None, Known())
    spent = hours.spent(completions(prompts), how, "embed", params.load(None), Given(price=2.5))
    assert (spent.hours, spent.cost) == (None, None)
    assert "--tokens-per-second embed=N" in how.told
    assert "--trial" not in hours.speed("train", "train", Given(), None, Known()).told  # which no trial measures
    assert hours.speed("train", "train", Given(), None, Known(train_rate=123.0)).rate == 123


def test_a_trial_counts_loading_and_says_where_it_was_too_short() -> None:
    trial = Trial("a machine", {"judge": Measured(20, 100.0, 50.0, 10.0, start=36.0, devices=2)})
    how = hours.speed("judge", "judge", Given(), trial, Known(), 64)
    assert (how.rate, how.start) == (50.0, 36.0)  # 20 rows of 50 tokens in 10 s, on two GPUs
    assert "a longer trial" in how.told
    assert "a longer trial" not in hours.speed("judge", "judge", Given(), trial, Known(), 16).told
    one = hours.spent(Work(100, 0.0, 50.0, 0, ()), how, "judge", params.load(None), Given())
    assert one.hours == pytest.approx((36 + 100 * 50 / 50) / 3600)
    assert hours.speed("judge", "judge", RATE, trial, Known()).rate == 2500  # what is given goes before


def test_a_hosted_model_is_paid_by_the_token_and_waits_for_its_limits() -> None:
    sets = ["engine.name=endpoint", "engine.endpoint.price={input: 0.4, output: 1.6}"]
    sets += ["engine.endpoint.requests_per_minute=1000", "engine.endpoint.tokens_per_minute=1000000"]
    settings, asked = params.load(None, sets), Work(240_000, 700.0, 100.0, 1000, ())
    spent = hours.spent(asked, hours.speed("judge", "judge", Given(), None, Known()), "judge", settings, RATE)
    assert spent.cost == pytest.approx(240_000 * (700 * 0.4 + 100 * 1.6) / 1e6)
    assert spent.hours == pytest.approx(240_000 / 1000 / 60)  # 240 minutes; its tokens would take 192
    assert spent.gpus == 0


def test_the_disk_by_hand() -> None:
    made, said = Work(240_000, 200.0, 256.0, 456, ()), Work(240_000, 700.0, 100.0, 1000, ())
    texts = Work(480_000, 178.0, 178.0, 256, ())
    needed = disk.needed(made, [said], texts, 60_000, 384, Known())
    assert needed.tables["completions"] == 240_000 * (30 + 256 * 4.5 * 0.4)
    assert needed.tables["feedback"] == pytest.approx(240_000 * (30 + 2 * 100 * 4.5 * 0.4))
    assert needed.tables["embeddings"] == pytest.approx(480_000 * (30 + 384 * 4 * 0.87))
    assert needed.tables["pairs"] == pytest.approx(60_000 * (60 + (200 + 2 * 256 + 2 * 100) * 4.5 * 0.4))
    assert needed.tables["ratings"] == 240_000 * 60
    assert disk.needed(made, [said, said], texts, 60_000, 384, Known()).tables["ratings"] == 480_000 * 60
    assert needed.total == pytest.approx(sum(needed.tables.values()) + needed.kept)
    assert needed.kept > needed.tables["completions"] + needed.tables["embeddings"]
    known = disk.needed(made, [said], texts, 60_000, None, Known(bytes_per_row={"completions": 100.0}))
    assert known.tables["completions"] == 24_000_000
    assert any("as in the run: completions" in words for words in known.told)
    assert any("768 numbers in a vector" in words for words in known.told)
