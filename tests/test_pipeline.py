"""dvc.yaml with the real DVC, models and trainer, on a few prompts of the demo."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from builder import params, tables

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(ROOT.glob("configs/*.yaml"))
STAGES = {"demo": 60, "cluster": 60, "arms": 101, "paper": 101}
"""At most so many: DVC's cost grows faster than they do. Four arms of three rounds are 101."""
TABLES = ("completions", "feedback", "embeddings", "ratings", "pairs")


def dvc(folder: Path, *arguments: str) -> str:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
    }
    done = subprocess.run(["dvc", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def make_checkout(folder: Path, config: Path = ROOT / "params.yaml", **changes: Any) -> Path:
    for name in ("builder", "train", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", folder)
    edit(folder, yaml.safe_load(config.read_text()) | changes)
    dvc(folder, "init", "-q", "--no-scm")
    return folder


def edit(folder: Path, document: dict[str, Any]) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def read(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((folder / "params.yaml").read_text())
    return document


def small(folder: Path, **more: Any) -> Path:
    settings = read(ROOT)
    changes = {"prompts": settings["prompts"] | {"limit": 6}, "complete": settings["complete"] | {"n": 2}}
    changes |= {"train": settings["train"] | {"max_steps": 1, "batch": 2, "device_batch": 2}, "arms": ["wim", "random"]}
    return make_checkout(folder, **(changes | more))


def stages_run(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_loads_and_resolves(config: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(config.read_text())
    for arm in document["arms"]:
        for entry in document["rounds"]:
            params.load(config, [], arm, entry["index"])
    stages = dvc(make_checkout(tmp_path, config), "stage", "list", "--name-only").split()
    arms, rounds = document["arms"], [entry["index"] for entry in document["rounds"]]
    per_run = ("complete", "judge", "embed", "rate", "pair", "train", "evaluate", "publish")
    wanted = {f"{stage}@{arm}-round{k}" for stage in per_run for arm in arms for k in rounds}
    assert set(stages) == wanted | {"prompts"} | {f"base@{arm}" for arm in arms}
    assert len(stages) <= STAGES[config.stem]
    tracked = {
        key for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values() for key in stage["params"]
    }
    assert {key for key in tracked if "." not in key} <= set(document)  # DVC stops where a block is missing


@pytest.mark.parametrize("name", ["arms", "paper"])
def test_the_four_arms_are_the_papers(name: str) -> None:
    config = ROOT / f"configs/{name}.yaml"
    arms = {arm: params.load(config, [], arm, 2) for arm in ("random", "numerical", "wim-fixed", "wim-moving")}
    assert [(p.rate.method, p.judged_by) for p in arms.values()] == [
        ("random", "base"),
        ("numerical", "base"),
        ("wim", "base"),
        ("wim", "current"),
    ]
    assert {(p.train.reference, p.train.beta, p.train.loss) for p in arms.values()} == {("base", 0.1, "sigmoid")}


def test_the_papers_judge_searches_contrastively_and_not_by_vllm() -> None:
    from builder.judging.panel import who

    settings = params.load(ROOT / "configs/paper.yaml", [], "wim-moving")
    assert (settings.engine.name, who(settings, None)[0].engine.name) == ("vllm", "transformers")
    assert settings.judge.contrastive == params.Contrastive(alpha=0.6, k=4)


def test_the_papers_benchmarks_are_named() -> None:
    tasks = params.load(ROOT / "configs/paper.yaml").eval.tasks
    assert tasks == ("bbh_cot_fewshot", "gpqa_diamond_zeroshot", "ifeval", "mmlu")


def test_the_shipped_parameters_are_the_demo() -> None:
    assert (ROOT / "params.yaml").read_text() == (ROOT / "configs/demo.yaml").read_text()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small(tmp_path_factory.mktemp("pipeline"))
    assert len(stages_run(dvc(folder, "repro"))) == 35
    return folder


def test_arms_share_their_first_round_and_part_after_it(done: Path) -> None:
    first = [(done / f"runs/{arm}/0/feedback.parquet").read_bytes() for arm in ("wim", "random")]
    assert first[0] == first[1]
    policies = [pl.read_parquet(done / f"runs/{arm}/1/completions.parquet")["policy"][0] for arm in ("wim", "random")]
    assert policies[0] != policies[1]
    pairs = pl.read_parquet(done / "runs/random/1/pairs.parquet")
    assert set(pairs["arm"]) | {pairs["method"][0]} == {"random"}
    assert set(pairs["round"]) == {1}


def test_nothing_runs_twice(done: Path) -> None:
    assert stages_run(dvc(done, "repro")) == set()


def test_a_change_reruns_what_it_touches_and_then_what_follows(done: Path) -> None:
    """A dry run names the stages that a change touches; what follows is run if their outputs change."""
    document = read(done)
    edit(done, document | {"pair": document["pair"] | {"min_gap": 0.001}})
    touched = stages_run(dvc(done, "repro", "--dry"))
    assert touched == {f"pair@{arm}-round{k}" for arm in ("wim", "random") for k in (0, 1)}
    rounds = [document["rounds"][0], document["rounds"][1] | {"train": {"learning_rate": 5.0e-4}}]
    edit(done, document | {"rounds": rounds})
    assert stages_run(dvc(done, "repro", "--dry")) == {f"train@{arm}-round1" for arm in ("wim", "random")}
    assert stages_run(dvc(done, "repro", "evaluate@wim-round1")) == {"train@wim-round1", "evaluate@wim-round1"}
    edit(done, document)
    assert stages_run(dvc(done, "repro")) == set()  # what was there comes back from DVC's cache


def test_a_second_run_elsewhere_gives_the_same_bytes(done: Path, tmp_path: Path) -> None:
    again = small(tmp_path)
    dvc(again, "repro")
    for file in sorted(done.glob("runs/**/*.parquet")):
        assert (again / file.relative_to(done)).read_bytes() == file.read_bytes(), file.name
    assert {file.stem for file in done.glob("runs/wim/1/*.parquet")} >= set(TABLES)


def test_the_whole_pipeline_runs_on_vllm(tmp_path: Path) -> None:
    """The real vLLM on the CPU: base model and adapter from one engine, with nothing set but the engine's name."""
    pytest.importorskip("vllm", reason="the real vLLM: make setup-vllm")
    folder = small(tmp_path, engine={"name": "vllm"}, arms=["wim"], judge={"structured": True, "max_tokens": 256})
    assert {"complete@wim-round1", "evaluate@wim-round1", "publish@wim-round1"} <= stages_run(dvc(folder, "repro"))
    for round_index in (0, 1):
        run = folder / f"runs/wim/{round_index}"
        feedback = pl.read_parquet(run / "feedback.parquet")
        assert set(feedback["wim_status"]) <= {"missing", "nothing"}
        assert tables.read_metadata(run / "completions.parquet")["params"]["engine"] == "vllm"
        assert json.loads((run / "evaluation.json").read_text())["n"] == 120
    assert stages_run(dvc(folder, "repro")) == set()
