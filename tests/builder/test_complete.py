"""complete, judge and evaluate through the echo engine, which ships with the product."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

from builder import complete, evaluate, generate, params, tables
from builder.engines import Completion, Request, Sampling, echo
from builder.language import policy
from builder.language.policy import Policy

Wim = Callable[..., int]
ECHO = ("--set", "engine.name=echo", "--set", "embed.model=minilm")
PROMPTS = [
    {"prompt": f"Tell me about thing number {i} in some more words please", "reference": f"thing\nnumber {i}"}
    for i in range(6)
]


@pytest.fixture
def run(wim: Wim, write_jsonl: Any) -> Path:
    write_jsonl(PROMPTS[:4], "prompts.jsonl")
    write_jsonl(PROMPTS[4:], "heldout.jsonl")
    sources = ("--set", "prompts.source=prompts.jsonl", "--set", "prompts.heldout=heldout.jsonl")
    assert wim("prompts", "runs", *sources) == 0
    return Path("runs/a/0")


def test_every_prompt_gets_its_completions_and_each_row_says_where_it_comes_from(wim: Wim, run: Path) -> None:
    assert wim("complete", run, *ECHO, "--set", "complete.n=3") == 0
    frame = tables.read(run / "completions.parquet", "completions")
    prompts = tables.read(Path("runs/prompts.parquet"), "prompts")
    assert frame["completion_id"].to_list() == [f"{p}-{i:02d}" for p in prompts["prompt_id"] for i in range(3)]
    assert frame["text"].n_unique() > 6
    assert frame["policy"].n_unique() == 1
    assert set(frame["finish_reason"]) == {"stop"}


def test_rows_that_are_done_are_not_done_again(wim: Wim, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    generate = echo.Engine.generate

    def counted(self: echo.Engine, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        taken = list(requests)
        asked.append(len(taken))
        return generate(self, taken)

    monkeypatch.setattr(echo.Engine, "generate", counted)
    wim("complete", run, *ECHO)
    first = (run / "completions.parquet").read_bytes()
    wim("complete", run, *ECHO)
    wim("complete", "runs/b/0", *ECHO)
    assert asked == [16]
    assert (run / "completions.parquet").read_bytes() == Path("runs/b/0/completions.parquet").read_bytes() == first
    wim("complete", run, *ECHO, "--set", "complete.n=5")
    assert asked == [16, 4]
    wim("complete", run, *ECHO, "--set", "complete.temperature=0.5")
    assert asked == [16, 4, 16]


class Stubborn:
    """An engine whose answers are unreadable at the first attempts; the real ones cannot be made to be."""

    attempts: ClassVar[list[Request]] = []

    def __init__(self, settings: params.Params, policies: Sequence[Policy]) -> None:
        del settings, policies

    def generate(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        for place, request in enumerate(requests):
            self.attempts.append(request)
            readable = "Rating: [[7]] WIM: [[[no dates]]]"
            yield place, Completion(readable if request.sampling.temperature else "no format at all", "stop", 4)


def test_several_policies_complete_the_same_prompts(wim: Wim, run: Path) -> None:
    also = ("--set", "complete.also=[org/weaker, base]", "--set", "complete.n=2")
    policy.write(Path("base"), policy.base(params.Model()))
    assert wim("complete", "runs/alone/0", *ECHO, "--set", "complete.n=2") == 0
    assert wim("complete", run, *ECHO, *also) == 0
    alone = tables.read(Path("runs/alone/0/completions.parquet"), "completions")
    frame = tables.read(run / "completions.parquet", "completions")
    assert frame["completion_id"].is_sorted()
    assert frame["index"].to_list() == [*range(6)] * 4
    assert frame.filter(pl.col("index") < 2).equals(alone)
    own, other = policy.base(params.Model()).hash(), Policy("org/weaker").hash()
    assert frame["policy"].to_list() == [own, own, other, other, own, own] * 4
    about = tables.read_metadata(run / "completions.parquet")
    assert [each["model"] for each in about["also"]] == ["org/weaker", "model"]
    assert "also" not in about["params"]["complete"]


def test_pairs_across_policies(wim: Wim, run: Path) -> None:
    also = ("--set", "complete.also=[org/weaker]", "--set", "pair.strategy=cross_policy")
    for stage in ("complete", "judge", "embed", "rate", "pair"):
        assert wim(stage, run, *ECHO, *also) == 0
    by = dict(tables.read(run / "completions.parquet", "completions")["completion_id", "policy"].iter_rows())
    pairs = tables.read(run / "pairs.parquet", "pairs")
    assert len(pairs) == 4
    assert all(by[chosen] != by[rejected] for chosen, rejected in pairs["chosen_id", "rejected_id"].iter_rows())


def test_unreadable_answers_are_asked_for_again_and_every_attempt_is_kept(
    wim: Wim, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wim("complete", run, *ECHO)
    monkeypatch.setattr(echo, "Engine", Stubborn)
    assert wim("judge", run, *ECHO, "--set", "judge.attempts=3") == 0
    frame = tables.read(run / "feedback.parquet", "feedback")
    assert frame["attempt"].to_list() == [0, 1] * 16
    assert frame["wim_status"].to_list() == ["unreadable", "missing"] * 16
    assert frame["reason"][0] == "no_brackets"
    assert frame["raw"][0] == "no format at all"
    first, second = Stubborn.attempts[0], Stubborn.attempts[16]
    assert (first.sampling.temperature, second.sampling.temperature) == (0.0, 0.7)
    assert first.seed != second.seed


def test_an_empty_completion_is_not_sent_to_the_judge(wim: Wim, run: Path) -> None:
    wim("complete", run, *ECHO)
    frame = tables.read(run / "completions.parquet", "completions")
    frame = frame.with_columns(text=pl.when(pl.col("index") == 0).then(pl.lit("")).otherwise("text"))
    tables.write(run / "completions.parquet", "completions", frame, {})
    assert wim("judge", run, *ECHO) == 0
    empty = tables.read(run / "feedback.parquet", "feedback").filter(pl.col("completion_id").str.ends_with("-00"))
    assert set(empty["reason"]) == {"empty_completion"}
    assert empty["raw"].null_count() == len(empty) == 4


def test_the_whole_pipeline_runs_through_echo(wim: Wim, run: Path) -> None:
    for stage in ("complete", "judge", "embed", "rate", "pair"):
        assert wim(stage, run, *ECHO, "--arm", "a", "--round", "0") == 0
    stats = json.loads((run / "stats.json").read_text())
    assert stats["judgements"]["total"] == 16
    assert stats["pairs"] >= 1
    tokens = tables.read(run / "completions.parquet", "completions")["tokens"].sum()
    assert stats["usage"]["complete"] == {"prompt_tokens": 16 * 11, "tokens": tokens, "escaped": 0}
    assert set(stats["usage"]) == {"complete", "judge"}


def test_cost_follows_the_tokens_of_an_endpoint(wim: Wim) -> None:
    del wim  # for its folder
    echoing, by = params.load(None, ["engine.name=echo"]), policy.base(params.Model())
    asked = Request(({"role": "user", "content": "one two three"},), by, 0, Sampling(0.0, 16))
    done = generate.generate("complete", [asked], 1, by, generate.Lazy(echoing, [by]), "complete")
    paid = params.load(None, ["engine.name=endpoint", "engine.endpoint.price={input: 2, output: 10}"])
    assert generate.usage([done], paid) == {"prompt_tokens": 3, "tokens": 3, "escaped": 0, "cost": 36e-6}


def test_evaluate_scores_greedy_completions_against_the_base(wim: Wim, run: Path) -> None:
    assert wim("evaluate", run, *ECHO) == 0
    result = json.loads((run / "evaluation.json").read_text())
    assert (result["mean"], result["difference"], result["n"]) == (1.0, 0.0, 2)  # echo repeats the whole prompt
    beside = tables.read(run / "evaluation.parquet", "evaluation", ["text", "value", "base_text", "base_value"])
    assert len(beside) == 2
    assert beside["text"].equals(beside["base_text"], null_equal=True)
    assert beside["base_value"].to_list() == [1.0, 1.0]


def test_prompts_without_a_reference_are_completed_and_not_scored(
    wim: Wim, write_jsonl: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(PROMPTS, "prompts.jsonl")
    write_jsonl([{"prompt": "Say one."}, {"prompt": "Say two.", "reference": "two"}], "heldout.jsonl")
    sources = ("--set", "prompts.source=prompts.jsonl", "--set", "prompts.heldout=heldout.jsonl")
    assert wim("prompts", "bare", *sources) == 0
    assert wim("evaluate", "bare/0", *ECHO) == 0
    assert "1 of 2 prompts have no reference" in capsys.readouterr().err
    assert json.loads(Path("bare/0/evaluation.json").read_text())["n"] == 1
    table = tables.read(Path("bare/0/evaluation.parquet"), "evaluation", ["value", "text"])
    assert table["text"].null_count() == 0
    assert table["value"].null_count() == 1


def test_coverage_is_the_share_of_the_references_lines() -> None:
    reference = "is  red\nLives in water\n\nhas six legs"
    assert evaluate.coverage("It IS red. It lives\nin water.", reference) == pytest.approx(2 / 3)
    assert evaluate.coverage("", reference) == 0.0


def test_the_difference_is_paired_by_prompt() -> None:
    base = pl.Series(range(50)).to_numpy().astype(float)
    result = evaluate.summarise(base + 0.5, base, seed=1)
    assert result["difference_low"] == pytest.approx(0.5) == result["difference_high"]
    assert result["low"] < result["mean"] < result["high"]


def test_an_engine_says_what_it_cannot_do(wim: Wim, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wim("complete", run, *ECHO)
    assert wim("judge", run, *ECHO, "--set", "judge.contrastive={}") == 1
    assert "contrastive" in capsys.readouterr().err
    assert wim("judge", run, *ECHO, "--set", "judge.structured=true") == 1
    assert "structured" in capsys.readouterr().err
    assert wim("complete", run, "--set", "engine.name=ecko") == 1
    assert "echo" in capsys.readouterr().err
    assert wim("complete", run, *ECHO, "--set", "complete.top_p=0.5") == 1
    assert "top_p" in capsys.readouterr().err


def test_without_ray_the_scale_says_how_to_get_it(
    wim: Wim, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert wim("complete", run, *ECHO, "--set", "engine.scale=ray") == 1
    said = capsys.readouterr().err
    assert said.startswith("wim: engine.scale: ray needs Ray")
    assert said.endswith("pip install -e '.[cluster]'\n")


def test_prompts_without_text_are_neither_completed_nor_judged(
    wim: Wim, write_jsonl: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wim("ingest", write_jsonl([{"prompt_id": "known", "completion": "a"}]), "--out", "ids") == 0
    for stage in ("complete", "judge"):
        assert wim(stage, "ids", *ECHO) == 1
        assert "known by their id only" in capsys.readouterr().err


def test_without_held_out_prompts_there_is_nothing_to_evaluate(wim: Wim, write_jsonl: Any) -> None:
    write_jsonl(PROMPTS, "prompts.jsonl")
    assert wim("prompts", "bare", "--set", "prompts.source=prompts.jsonl") == 0
    assert wim("evaluate", "bare/0", *ECHO) == 0
    assert json.loads(Path("bare/0/evaluation.json").read_text()) == {"n": 0}
    assert len(tables.read(Path("bare/0/evaluation.parquet"), "evaluation")) == 0


def test_a_missing_table_is_named_with_the_command_that_makes_it(wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim("judge", "nowhere") == 1
    assert "wim prompts nowhere" in capsys.readouterr().err
    assert wim("explain", "nowhere") == 1
    assert "wim pair nowhere" in capsys.readouterr().err


def test_completions_can_be_made_from_a_notebook(wim: Wim, run: Path) -> None:
    wim("complete", run, *ECHO)
    echoing = params.load(None, ["engine.name=echo"])
    prompts = tables.read(Path("runs/prompts.parquet"), "prompts")
    made = complete.complete(prompts, policy.base(echoing.model), echoing)
    assert made.equals(tables.read(run / "completions.parquet", "completions"))
    assert complete.complete(prompts[:0], policy.base(echoing.model), echoing).is_empty()


def test_one_engine_completes_and_judges_as_two_do(wim: Wim, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("complete", "judge"):
        wim(stage, run, *ECHO)
    assert wim("complete", "runs/b/0", *ECHO, "--judge") == 0
    for table in ("completions.parquet", "feedback.parquet"):
        assert (run / table).read_bytes() == (Path("runs/b/0") / table).read_bytes()
    assert wim("complete", "runs/b/0", *ECHO, "--judge", "--set", "judge.model=another") == 1
    assert "wim judge" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "table", "column"), [("judge", "completions", "text"), ("complete", "prompts", "messages")]
)
def test_a_table_without_a_column_is_an_error(
    wim: Wim, run: Path, stage: str, table: str, column: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wim("complete", run, *ECHO)
    file = run / "completions.parquet" if table == "completions" else Path("runs/prompts.parquet")
    pl.read_parquet(file).drop(column).write_parquet(file)
    assert wim(stage, run, *ECHO) == 1
    assert f"has no column '{column}'" in capsys.readouterr().err


def test_completions_that_change_while_they_are_judged_are_noticed(
    wim: Wim, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wim("complete", run, *ECHO)
    generate_as_before = echo.Engine.generate

    def meddling(self: echo.Engine, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        yield from generate_as_before(self, requests)
        frame = tables.read(run / "completions.parquet", "completions")
        tables.write(run / "completions.parquet", "completions", frame.with_columns(text=pl.lit("other")), {})

    monkeypatch.setattr(echo.Engine, "generate", meddling)
    assert wim("judge", run, *ECHO) == 1
    assert "changed while it was worked on" in capsys.readouterr().err
    assert not (run / "feedback.parquet").exists()


def test_judgements_of_other_completions_are_not_rated(wim: Wim, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("complete", "judge", "embed", "rate", "pair"):
        assert wim(stage, run, *ECHO) == 0
    assert wim("complete", run, *ECHO, "--set", "seed=2") == 0
    for stage in ("embed", "rate", "pair"):
        assert wim(stage, run, *ECHO) == 1
        assert "made from another completions.parquet; run `wim judge" in capsys.readouterr().err
    assert wim("complete", run, *ECHO) == 0
    assert wim("pair", run, *ECHO) == 0
