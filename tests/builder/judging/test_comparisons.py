"""Pairs and juries through the stages: comparisons.parquet, shares, several judges in one table.

The demo model cannot compare: here a small scripted engine does, which prefers the longer answer.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from builder import params, tables
from builder.compare import comparable
from builder.engines import Completion, Request, echo
from builder.judging import comparisons
from builder.language.policy import Policy
from builder.statuses import Reason

Wim = Callable[..., int]
ECHO = ("--set", "engine.name=echo")
ECHOES = echo.Engine
TEXTS = ["x" * 5, "x" * 20, "", "x" * 40, "x" * 20]


class LikesLong:
    """Prefers the longer answer of two, much if it is twice as long; of one tells its length."""

    def __init__(self, settings: params.Params, policies: Sequence[Policy]) -> None:
        del settings, policies

    def generate(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        for place, request in enumerate(requests):
            yield place, Completion(self.said(*(message["content"] for message in request.messages)), "stop", 3)

    def said(self, system: str, asked: str = "") -> str:
        if not asked:
            return f"{system} at some length"
        first, *second = (len(part.split(">\n", 1)[1]) - 1 for part in asked.split("<answer")[1:])
        if not second:
            return f"Rating: [[{min(10, first // 10 + 1)}]]\nWIM: [[[{asked[-30:-10]} is missing]]]"
        sizes = {"A": first - len("</answer>\n"), "B": second[0] - len("</answer>")}
        if sizes["A"] == sizes["B"]:
            return "Verdict: [[tie]]"
        better, worse = sorted(sizes, key=lambda name: -sizes[name])
        much = sizes[better] >= 2 * sizes[worse]
        word = ("much better" if much else "slightly better") if "much" in system else ""
        return f"Verdict: [[{f'{better} {word}'.strip()}]]"


class Unreadable(LikesLong):
    """Gives a verdict only when it is asked again."""

    def generate(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        for place, request in enumerate(requests):
            asked = (message["content"] for message in request.messages)
            yield place, Completion(self.said(*asked) if request.sampling.temperature else "Well.", "stop", 3)


@pytest.fixture
def run(wim: Wim, monkeypatch: pytest.MonkeyPatch) -> Path:
    del wim  # for its folder
    folder = Path("run")
    prompts = [{"prompt_id": p, "messages": [{"role": "user", "content": f"Tell {p}"}], "source": ""} for p in "pq"]
    rows = [
        (f"{p}-{i:02d}", p, i, text, "stop", "x") for p in "pq" for i, text in enumerate(TEXTS[: 5 if p == "p" else 1])
    ]
    names = ["completion_id", "prompt_id", "index", "text", "finish_reason", "policy"]
    frame = pl.DataFrame(rows, schema=names, orient="row").with_columns(tokens=pl.lit(1))
    tables.write(
        folder / "prompts.parquet", "prompts", pl.DataFrame(prompts).with_columns(reference=pl.lit(None, pl.String)), {}
    )
    tables.write(folder / "completions.parquet", "completions", frame, {})
    monkeypatch.setattr(echo, "Engine", LikesLong)
    return folder


def judged(wim: Wim, run: Path, block: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    assert wim("judge", run, *ECHO, "--set", f"judge={block}") == 0
    feedback = tables.read(run / "feedback.parquet", "feedback")
    file = run / "comparisons.parquet"
    return feedback, tables.read(file, "comparisons") if file.is_file() else pl.DataFrame()


def shares(feedback: pl.DataFrame) -> list[float | None]:
    return feedback.filter(pl.col("completion_id").str.starts_with("p"))["rating"].to_list()


def test_a_completions_rating_is_the_share_that_it_won_in_both_orders(wim: Wim, run: Path) -> None:
    feedback, table = judged(wim, run, "{name: pairwise}")
    assert shares(feedback) == [0, 0.5, None, 1, 0.5]  # the last has the text of the second
    assert feedback["reason"].to_list() == [None, None, "empty_completion", None, None, "not_compared"]
    assert set(feedback["scale_min"]) | set(feedback["scale_max"]) == {0.0, 1.0}
    assert table.select("a", "b", "order", "verdict", "grade").rows() == [
        (f"p-0{a}", f"p-0{b}", order, "b", -1) for a, b in ((0, 1), (0, 3), (1, 3)) for order in (0, 1)
    ]
    assert table["raw"].to_list() == ["Verdict: [[B]]", "Verdict: [[A]]"] * 3


def test_graded_verdicts_are_kept_by_their_grade(wim: Wim, run: Path) -> None:
    feedback, table = judged(wim, run, "{name: likert, compare: {grades: 7}}")
    assert (table["most"].unique().to_list(), table["grade"].unique().to_list()) == ([3], [-3])
    assert shares(feedback) == [0, 0.5, None, 1, 0.5]


def test_against_one_completion_that_one_has_a_half(wim: Wim, run: Path) -> None:
    feedback, table = judged(wim, run, "{name: pairwise, compare: {against: 1}}")
    assert shares(feedback) == [0, 0.5, None, 1, 0.5]
    assert set(table["b"]) == {"p-01"}


def test_what_cannot_be_read_is_asked_again_and_every_attempt_is_kept(
    wim: Wim, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(echo, "Engine", Unreadable)
    feedback, table = judged(wim, run, "{name: pairwise}")
    assert table["attempt"].to_list() == [0, 1] * 6
    assert table["reason"].to_list() == ["no_brackets", None] * 6
    assert shares(feedback) == [0, 0.5, None, 1, 0.5]
    feedback, _ = judged(wim, run, "{name: pairwise, attempts: 1}")
    assert shares(feedback) == [None] * 5
    assert feedback["rating_status"].to_list() == ["unreadable"] * 2 + ["absent"] + ["unreadable"] * 2 + ["absent"]
    assert feedback["reason"][0] == Reason.NO_BRACKETS


def test_too_many_pairs_are_chosen_so_that_all_are_compared_alike() -> None:
    names = [f"p-{i:02d}" for i in range(9)]
    for limit in (9, 18, 20):
        chosen = list(comparisons._pairs(names, range(9), params.Compare(limit=limit), seed=1))
        assert len(set(chosen)) == len(chosen) == limit
        counts = [sum(name in pair for pair in chosen) for name in names]
        assert max(counts) - min(counts) <= 2
        assert all(a < b for a, b in chosen)


def test_a_run_of_pairs_becomes_preference_pairs(wim: Wim, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged(wim, run, "{name: pairwise}")
    said = capsys.readouterr()
    assert "nobody says what is missing" in said.err
    assert "agree 1.0" in said.out
    for stage in ("embed", "rate", "pair"):
        assert wim(stage, run, "--set", "rate.method=numerical") == 0
    pairs = tables.read(run / "pairs.parquet", "pairs")
    assert pairs.select("chosen_id", "rejected_id", "chosen_rating").rows() == [("p-03", "p-00", 10.0)]


def test_a_jury_is_several_judges_in_one_table(wim: Wim, run: Path) -> None:
    feedback, table = judged(
        wim, run, "{jury: [{name: wim}, {name: wim, label: terse, wording: brief}, {name: pairwise}]}"
    )
    assert feedback["judge"].to_list() == ["pairwise", "terse", "wim"] * 6
    assert feedback["completion_id"].is_sorted()
    assert table["judge"].unique().to_list() == ["pairwise"]
    for stage in ("embed", "rate", "pair"):
        assert wim(stage, run, "--set", "rate.method=numerical", "--set", "pair.judge=majority") == 0
    rated = pl.read_parquet(run / "ratings.parquet").filter("ratable")
    spread = rated.group_by("completion_id").agg(pl.col("reward").std(ddof=0), pl.col("disagreement").first())
    several = spread.filter(pl.col("completion_id").str.starts_with("p"))
    assert several["reward"].to_list() == pytest.approx(several["disagreement"].to_list())
    pairs = pl.read_parquet(run / "pairs.parquet")
    assert pairs.select("chosen_id", "rejected_id", "judge", "dissent").rows() == [("p-03", "p-00", "majority", 0.0)]
    shown = json.loads((run / "stats.json").read_text())["methods"]["numerical"]
    assert 1 <= shown["mean"] <= 10  # a majority has no scale: the median's is shown
    assert shown["mean"] == pytest.approx(
        rated.group_by("completion_id").agg(pl.col("rating").median())["rating"].mean()
    )
    feedback, table = judged(wim, run, "{name: wim}")
    assert feedback["judge"].unique().to_list() == ["wim"]
    assert table.is_empty()  # of another jury


def test_a_judge_of_aspects_keeps_their_numbers(wim: Wim, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "Engine", ECHOES)  # which answers in any format
    judged(wim, run, "{jury: [{name: aspects, missing: false}, {name: wim}]}")
    kept = pl.read_parquet(run / "feedback.parquet").sort("completion_id", "judge")
    numbers = json.loads(kept["aspects"][0])
    assert set(numbers) == {"helpfulness", "honesty", "instruction following", "truthfulness"}
    assert kept["rating"][0] == pytest.approx(1 + 9 * (sum(numbers.values()) - 4) / 16)
    assert (kept["wim_status"][0], kept["aspects"][1]) == ("absent", None)


def values(rewards: dict[str, list[float]], judge: str) -> dict[str, float]:
    rows = [(name, "p", f"j{j}", value) for name, given in rewards.items() for j, value in enumerate(given)]
    frame = pl.DataFrame(rows, schema=["completion_id", "prompt_id", "judge", "reward"], orient="row")
    texts = pl.DataFrame({"completion_id": list(rewards), "text": list(rewards)})
    return dict(comparable(frame, texts, "reward", judge).select("completion_id", "value").iter_rows())


def test_mean_median_and_majority_of_a_jury() -> None:
    rewards = {"a": [0.2, 0.2, 0.3], "b": [0.1, 0.1, 0.9], "c": [0.0, 0.2, 0.1]}
    assert values(rewards, "mean") == pytest.approx({"a": 0.7 / 3, "b": 1.1 / 3, "c": 0.1})
    assert values(rewards, "median") == pytest.approx({"a": 0.2, "b": 0.1, "c": 0.1})
    assert values(rewards, "majority") == pytest.approx({"a": 1.0, "b": 0.0, "c": -1.0})


def test_a_completion_that_not_all_judges_rated_is_left_out() -> None:
    assert set(values({"a": [0.2, 0.2], "b": [0.1], "c": [0.3, 0.0]}, "majority")) == {"a", "c"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--export", "x.jsonl", "--set", "judge={model: m, jury: [{name: wim}]}"), "a batch service is one judge"),
        (("--set", "judge={name: wim, wording: quote}"), "the nearest known one is quotes"),
    ],
)
def test_what_a_jury_or_a_judge_cannot_do_is_said(
    wim: Wim, run: Path, arguments: Sequence[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wim("judge", run, *ECHO, *arguments) == 1
    assert told in capsys.readouterr().err


def test_a_batch_service_compares_as_well(wim: Wim, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    service = ("--set", "judge={name: pairwise, model: large}")
    assert wim("judge", run, "--export", "requests.jsonl", *service) == 0
    requests = [json.loads(line) for line in Path("requests.jsonl").read_text().splitlines()]
    assert len(requests) == 6
    body = {
        "model": "large",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Verdict: [[A]]"}, "finish_reason": "stop"}
        ],
    }
    results = [
        {"custom_id": r["custom_id"], "response": {"status_code": 200, "body": body}, "error": None} for r in requests
    ]
    Path("results.jsonl").write_text("".join(json.dumps(result) + "\n" for result in results[:4]))
    assert wim("judge", run, "--import", "results.jsonl", *service) == 0
    assert "2 requests are open" in capsys.readouterr().out
    feedback = tables.read(run / "feedback.parquet", "feedback")
    assert feedback.filter(pl.col("rating").is_not_null())["rating"].to_list() == [0.5] * 4


def test_one_engine_completes_and_compares(wim: Wim, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim("complete", run, "--judge", *ECHO, "--set", "judge={jury: [{name: pairwise}, {name: wim}]}") == 0
    assert wim("complete", run, "--judge", *ECHO, "--set", "judge={jury: [{name: wim}, {model: other}]}") == 1
    assert "the judge wim@other has a model or an engine of its own" in capsys.readouterr().err


def test_a_record_is_not_read_by_a_judge_that_compares(
    wim: Wim, write_jsonl: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_jsonl([{"prompt": "p", "completion": "c", "raw": "Verdict: [[A]]"}])
    assert wim("ingest", file, "--out", "run", "--set", "judge.name=pairwise") == 1
    assert "pairwise compares two completions, and a record's raw takes a judge of one" in capsys.readouterr().err
