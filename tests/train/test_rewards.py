"""The reward function gives the stages' own numbers, and never a number for what could not be read."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from loop import make_prompts, table

from builder import params
from builder.engines import Completion, Request
from builder.errors import EngineError, ParamsError, TableError
from builder.language import policy
from train import WimReward, contains_reward, coverage_reward, wim_reward

Wim = Callable[..., int]
ROOT = Path(__file__).parents[2]
SMALL = ("--set", "complete.n=3", "--set", "complete.max_tokens=48", "--set", "judge.max_tokens=64")
PROMPT = [{"role": "user", "content": "Describe the rinfo: its habitat, diet, coat, size, call and enemies."}]
REFERENCE = "lives in mountain valleys\nfeeds on acorns"
TEXTS = ["The rinfo feeds on acorns.", "It is a rinfo.", "It feeds on acorns and lives in mountain valleys."]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the stages up to embed."""
    from builder import cli

    folder = tmp_path_factory.mktemp("judged")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_prompts(lambda *words: cli.main([str(word) for word in words]) or 0, "run", 4)  # type: ignore[func-returns-value]
        for stage in ("complete", "judge", "embed"):
            cli.main([stage, "run", *SMALL])
    return folder


@pytest.mark.parametrize("method", ["wim", "numerical", "mixed", "random"])
def test_rewards_are_those_of_the_stages(judged: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    from builder import cli

    monkeypatch.chdir(judged)
    sets = [f"rate.method={method}", "rate.zeta=0.3", "judge.max_tokens=64"]
    cli.main(["rate", "run", *(word for setting in sets for word in ("--set", setting))])
    prompts = table(judged / "run", "prompts").select("prompt_id", "messages")
    known = table(judged / "run", "completions").join(prompts, on="prompt_id", maintain_order="left")
    wanted = known.join(table(judged / "run", "ratings"), on="completion_id", maintain_order="left")
    completions = [[{"role": "assistant", "content": text}] for text in known["text"]]
    found = wim_reward(None, sets)(prompts=known["messages"].to_list(), completions=completions)
    assert [reward is None for reward in found] == wanted["reward"].is_null().to_list()
    assert [r for r in found if r is not None] == pytest.approx(wanted["reward"].drop_nulls().to_list(), abs=1e-6)
    assert len(set(found)) > 1


class Says:
    """A judge that gives the same answer to everything."""

    def __init__(self, text: str) -> None:
        self.text, self.asked = text, 0

    def generate(self, requests: Iterator[Request]) -> Iterator[tuple[int, Completion]]:
        for place, _ in enumerate(requests):
            self.asked += 1
            yield place, Completion(self.text, "stop", 1)


def reward(judge: Says, verifier: str = "none", zeta: float = 1.0) -> WimReward:
    given = params.load(None)
    return WimReward(given, policy.base(given.model), judge, verifier, zeta)


def called(function: WimReward, **columns: Any) -> list[float | None]:
    return function([PROMPT] * 3, [[{"role": "assistant", "content": text}] for text in TEXTS], **columns)


def test_a_mixture_is_the_sum_of_its_shares_and_its_ends_are_the_parts() -> None:
    judge = Says("Rating: [[5]]\nWIM: [[[The description leaves out its coat.]]]")
    references = {"reference": [REFERENCE] * 3}
    wims = called(reward(judge))
    assert judge.asked == 3
    assert all(wim is not None and -1 <= wim < 1 for wim in wims)
    for verifier, facts in (("coverage", [0.5, 0.0, 1.0]), ("contains", [0.0, 0.0, 1.0])):
        assert called(reward(judge, verifier, 1.0), **references) == wims
        mixed = called(reward(judge, verifier, 0.25), **references)
        assert mixed == pytest.approx([0.75 * f + 0.25 * (w or 0) for f, w in zip(facts, wims, strict=True)])
        silent = Says("")
        assert called(reward(silent, verifier, 0.0), **references) == facts
        assert silent.asked == 0


def test_nothing_missing_is_1() -> None:
    assert called(reward(Says("Rating: [[10]]\nWIM: [[[]]]"))) == [1.0] * 3


@pytest.mark.parametrize("answer", ["It is fine.", "Rating: [[5]]\nWIM: [[[wim]]]", ""])
def test_what_cannot_be_read_is_none_even_in_a_mixture_and_is_asked_again(answer: str) -> None:
    logged: dict[str, float] = {}
    judge = Says(answer)
    assert called(reward(judge), log_metric=logged.__setitem__) == [None] * 3
    assert judge.asked == 6
    assert logged == {"wim/readable": 0.0}
    assert called(reward(judge, "coverage", 0.5), reference=[REFERENCE] * 3) == [None] * 3


def test_an_empty_completion_is_none_and_not_judged() -> None:
    judge = Says("Rating: [[10]]\nWIM: [[[]]]")
    assert reward(judge)(["Describe it."] * 2, [" \n", "It is grey."]) == [None, 1.0]
    assert judge.asked == 1


def test_without_a_reference_there_is_no_verifiable_reward() -> None:
    judge = Says("Rating: [[10]]\nWIM: [[[]]]")
    assert called(reward(judge, "coverage", 0.5), reference=[REFERENCE, None, REFERENCE]) == [0.75, None, 1.0]
    with pytest.raises(TableError, match="needs a column 'reference'"):
        called(reward(judge, "coverage", 0.5))


def test_verifiers_are_reward_functions_by_themselves() -> None:
    assert coverage_reward(completions=TEXTS, reference=[REFERENCE] * 3, prompts=None) == [0.5, 0.0, 1.0]
    assert contains_reward(completions=TEXTS, reference=[REFERENCE, None, REFERENCE]) == [0.0, None, 1.0]


def test_completions_of_a_prompt_are_numbered_on() -> None:
    function = reward(Says("Rating: [[10]]\nWIM: [[[]]]"))
    for _ in range(2):
        called(function)
    assert list(function.written.values()) == [6]
    assert function._batch([PROMPT], ["x"], None)["completion_id"][0].endswith("-06")


def test_a_rating_that_compares_all_judgements_of_a_run_is_refused() -> None:
    with pytest.raises(ParamsError, match="calibrated reads all judgements of a run at once"):
        wim_reward(sets=["rate.method=calibrated"])


def test_a_model_without_an_adapter_cannot_be_its_own_judge() -> None:
    with pytest.raises(EngineError, match="only a model with a PEFT adapter"):
        wim_reward(model=object())


def test_a_moving_judge_has_to_be_given() -> None:
    with pytest.raises(ParamsError, match="give it to wim_reward as model="):
        wim_reward(sets=["judged_by=current"])


def test_importing_train_loads_nothing() -> None:
    script = "import sys, train; print('torch' in sys.modules, 'polars' in sys.modules, train.coverage_reward)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False False <function")


def test_the_script_in_the_docs_trains(tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/training.md").read_text(), re.DOTALL)
    script = script.replace('"my-model"', repr(str(ROOT / "data/demo/model")))
    script = script.replace('"my-prompts.jsonl"', repr(str(ROOT / "data/demo/prompts.jsonl")))
    script = script.replace(
        "GRPOConfig(", "GRPOConfig(max_steps=1, logging_steps=1, use_cpu=True, bf16=False, max_completion_length=32, "
    )
    (tmp_path / "script.py").write_text(script)
    environment = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "rewards/wim/mean" in done.stdout


def test_frames_keep_the_order_of_the_batch() -> None:
    batch = reward(Says(""))._batch(["b", "a", "b"], ["1", "2", "3"], ["p", "q", "p"])
    assert batch["completion_id"].to_list() == ["p-00", "q-00", "p-01"]
    assert reward(Says(""))._batch(["b"], ["1"], [7])["completion_id"].to_list() == ["7-00"]
    assert batch.schema["index"] == pl.Int16
