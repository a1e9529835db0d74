"""`wim plan`: the whole command, what it learns from a run, and its errors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.plan import known
from builder import tables

Wim = Callable[..., int]
FIGURES = ("--prompts", 60_000, "--prompt-tokens", 200, "--tokens-per-second", 2500, "--price", 2.5)
ECHO = ("--set", "engine.name=echo")


@pytest.fixture
def plan(wim: Wim, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """`wim plan ... --json`."""

    def call(*arguments: object) -> dict[str, Any]:
        capsys.readouterr()
        assert wim("plan", *arguments, "--json") == 0, capsys.readouterr().err
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return call


@pytest.fixture
def echoed(wim: Wim, write_jsonl: Any) -> Path:
    """Two stages of a run by an engine without a model."""
    source = write_jsonl({"prompt": f"Describe thing {i}, where it is found and what it eats."} for i in range(9))
    assert wim("prompts", "run", "--set", f"prompts.source={source}") == 0
    for stage in ("complete", "judge"):
        assert wim(stage, "run", *ECHO) == 0
    return Path("run")


def test_the_plan_of_a_large_run_by_its_config(plan: Callable[..., Any], large: Path) -> None:
    sets = ("--set", f"model.name={large}", "--set", "engine.name=vllm")
    made = plan(*FIGURES, "--gpus", 8, "--gpu-memory", 80, *sets, "--tokens-per-second", "train=4000")
    assert list(made["stages"]) == ["complete", "judge", "embed", "train"]
    completions, judge = made["stages"]["complete"], made["stages"]["judge"]
    assert completions["hours"] == pytest.approx(240_000 * 256 / 20_000 / 3600)
    assert completions["cost"] == pytest.approx(completions["hours"] * 8 * 2.5)
    assert judge["read"] > completions["read"] + completions["tokens"]
    assert completions["memory"]["weights"] == 8_030_261_248 * 2
    assert completions["memory"]["cache_per_token"] == 131_072
    assert completions["memory"]["fits"] is True
    assert made["total"]["unknown"] == ["embed"]
    parts = [stage["hours"] for stage in made["stages"].values() if stage["hours"]]
    assert made["total"]["hours"] == pytest.approx(sum(parts))
    assert made["disk"]["total"] == pytest.approx(
        sum(made["disk"][name] for name in ("completions", "feedback", "embeddings", "ratings", "pairs", ".wim"))
    )
    assert all(stage["assumptions"] for stage in [*made["stages"].values(), made["disk"]])


def test_more_prompts_never_take_less(plan: Callable[..., Any]) -> None:
    made = [plan(*FIGURES[2:], "--prompts", n, "--tokens-per-second", "train=900") for n in (1, 10, 1_000, 1_000_000)]
    for read in (
        lambda p: p["total"]["hours"],
        lambda p: p["total"]["cost"],
        lambda p: p["disk"]["total"],
        lambda p: p["stages"]["judge"]["rows"],
    ):
        values = [read(each) for each in made]
        assert values == sorted(values)
        assert values[0] < values[-1]


def test_the_page_says_figures_and_what_they_hang_on(wim: Wim, large: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ("--set", f"model.name={large}", "--set", "engine.name=vllm")
    assert wim("plan", *FIGURES, "--gpus", 8, "--gpu-memory", 12, *sets) == 0
    said = capsys.readouterr().out
    assert "60,000 prompts, 8 GPUs of 12 GiB, 2.5 an hour each" in said
    assert "51.2 min" in said
    assert "DOES NOT FIT" in said
    assert "without embed, train, whose speed is not known" in said
    assert "complete.max_tokens, the most there can be" in said


def test_a_run_says_how_long_its_texts_are(plan: Callable[..., Any], echoed: Path) -> None:
    made = plan(echoed, *ECHO)
    usage = tables.read_metadata(echoed / "completions.parquet")["usage"]
    completions, judge = made["stages"]["complete"], made["stages"]["judge"]
    assert made["prompts"] == 9
    assert completions["rows"] == judge["rows"] == 36
    assert completions["tokens"] == pytest.approx(usage["tokens"] / 36)
    assert any("the mean of the run's 36" in words for words in completions["assumptions"])
    assert judge["read"] == pytest.approx(
        tables.read_metadata(echoed / "feedback.parquet")["usage"]["prompt_tokens"] / 36
    )
    assert made["disk"]["completions"] == pytest.approx((echoed / "completions.parquet").stat().st_size)
    assert completions["memory"] is None  # echo has no model
    larger = plan(echoed, *ECHO, "--prompts", 900)
    assert larger["stages"]["judge"]["rows"] == 3600
    assert larger["stages"]["judge"]["tokens"] == judge["tokens"]
    longer = plan(echoed, *ECHO, "--prompt-tokens", 5_000)  # what is given goes before what the run says
    assert longer["stages"]["complete"]["read"] == 5_000
    assert longer["stages"]["judge"]["read"] > 5_000 + completions["tokens"]


def test_answers_that_could_not_be_read_are_asked_again(echoed: Path) -> None:
    file = echoed / "feedback.parquet"
    said = tables.read(file, "feedback")
    again = said.head(9).with_columns(attempt=said["attempt"].head(9) + 1)
    tables.write(file, "feedback", said.extend(again), tables.read_metadata(file))
    assert known.read(echoed).repeated == pytest.approx(45 / 36)


def test_refined_texts_count_where_those_they_come_from_do(wim: Wim, echoed: Path, write_jsonl: Any) -> None:
    assert wim("refine", echoed, *ECHO) == 0
    of_ours = known.read(echoed / "refined").complete
    assert of_ours is not None
    assert of_ours.rows > 36
    records = [{"prompt": "Describe it.", "completion": "It is grey.", "feedback": "Its size is missing."}]
    assert wim("ingest", write_jsonl(records), "--out", "mine") == 0
    assert wim("refine", "mine", *ECHO) == 0
    assert known.read(Path("mine/refined")).complete is None


def test_what_others_have_made_has_no_counted_tokens(wim: Wim, plan: Callable[..., Any], write_jsonl: Any) -> None:
    record = {"prompt": "Why?", "completion": "Because.", "feedback": "It lacks a reason.", "rating": 3}
    assert wim("ingest", write_jsonl([record]), "--out", "mine") == 0
    made = plan("mine", *ECHO)
    assert made["stages"]["complete"]["tokens"] == 256
    assert any("the most there can be" in words for words in made["stages"]["complete"]["assumptions"])


def test_a_trial_measures_what_no_one_says(plan: Callable[..., Any], echoed: Path) -> None:
    before = sorted(Path(".wim").rglob("*"))
    made = plan(echoed, *ECHO, "--trial", 0.3, "--tokens-per-second", "judge=10", "--price", 1)
    for stage in ("complete", "embed"):
        assert made["stages"][stage]["tokens_per_second"] > 0
        assert made["stages"][stage]["hours"] > 0
        assert any("of a trial" in words for words in made["stages"][stage]["assumptions"])
    assert made["stages"]["judge"]["tokens_per_second"] == 10
    assert made["total"]["unknown"] == ["train"]
    assert sorted(Path(".wim").rglob("*")) == before  # no row of a trial is kept


def test_a_jury_is_planned_judge_by_judge(plan: Callable[..., Any]) -> None:
    jury = "judge.jury=[{name: wim}, {name: wim, label: other, max_tokens: 64}]"
    made = plan(*FIGURES, *ECHO, "--set", jury)
    assert list(made["stages"]) == ["complete", "judge wim", "judge other", "embed", "train"]
    assert made["stages"]["judge other"]["hours"] == pytest.approx(made["stages"]["judge wim"]["hours"] / 4)
    assert made["stages"]["embed"]["rows"] == 3 * 240_000


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--gpus", "0"), 2, "--gpus takes a number of GPUs, at least 1"),
        (("--prompts", "0"), 2, "--prompts"),
        (("--trial", "-1"), 2, "--trial"),
        (("--price", "nan"), 2, "--price"),
        (("--tokens-per-second", "fast"), 2, "a number above 0, not 'fast'"),
        (("--tokens-per-second", "rate=5"), 2, "'rate' is none of complete, judge, embed, train"),
        (("--shape", "32,8"), 2, "LAYERS,KV_HEADS,HEAD_SIZE"),
        (("--gpus", "3", "--set", "engine.name=vllm", "--set", "engine.vllm.tensor_parallel_size=2"), 2, "groups of 2"),
        (("nowhere",), 1, "there is no such run folder"),
        (("--set", "prompts.source=none.jsonl"), 1, "no such file"),
        (("--set", "prompts.source=empty.jsonl"), 1, "holds no prompt to plan for"),
        ((*map(str, FIGURES), "--set", "model.name=nobody/has-this"), 1, "--parameters complete=8e9"),
    ],
)
def test_mistakes_are_told_in_one_line(
    wim: Wim, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, word: str
) -> None:
    Path("empty.jsonl").write_text("")
    assert wim("plan", *arguments) == code
    said = capsys.readouterr().err.strip().splitlines()
    assert word in said[-1]
    assert said[-1].startswith("wim: ")


def test_one_stages_figure_goes_before_that_of_all() -> None:
    from analysis.plan.given import GENERATING, STAGES, Shape, numbers, shapes

    assert numbers("--x", ["judge=5", "2,500"], GENERATING, STAGES) == {"complete": 2500, "judge": 5}
    assert shapes("--x", ["32,8,128", "judge=80,8,128"])["judge"] == Shape(80, 8, 128)
