"""What README and docs/ print is run: page by page, in the page's order, in a folder of its own."""

import glob
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import docs_folder
import polars as pl
import pytest
from annotate_server import Served, Visitor
from documented import PAGES, ROOT, Step, steps
from hub_server import LARGE, Blob, Hub, Repo

import builder.judges
import builder.ratings
from builder import cli

TOKEN = "hf_token"
ELSEWHERE = {
    "make demo": ("minutes", ".ci/fresh-demo"),
    "make test": ("runs this test", ".ci/run"),
    "make setup": ("installs", ".ci/fresh-demo"),
    "make setup-vllm": ("installs", "Makefile"),
    "make experiment*": ("38 minutes of CPU time", ""),
    ". .venv/bin/activate": ("is for the reader's shell", ""),
    "dvc *": ("a process for each of 52 stages", "tests/test_pipeline.py"),
    "wim complete *engine.name=vllm": ("loads vLLM", "tests/builder/test_engines_vllm.py"),
    "python -m vllm*": ("loads vLLM", "tests/builder/test_engines_vllm.py"),
    "wim stats *--embedder sentence-transformers/*": ("a model on the Hub", "tests/builder/health/test_measure.py"),
    "wim train online *": ("takes 6 s each", "tests/train/test_online.py"),
    "wim train kto *": ("takes 6 s", "tests/train/test_kto.py"),
    "wim train dpo *train.loss=*": ("takes 6 s each", "tests/train/preferences/test_listwise.py"),
    "wim train grpo *": ("takes 5 s each", "tests/train/test_grpo.py"),
    "wim eval *": ("benchmarks on the Hub", "tests/analysis/test_benchmarks.py"),
    "wim winrate runs/wim/1 runs/numerical/1": ("the demo's judge cannot compare", "tests/analysis/test_winrate.py"),
    "wim plan *--price 2.5 --trial 300": ("takes 8 GPUs", ""),
    "wim plan --params configs/cluster.yaml *": ("a model on the Hub", "tests/analysis/plan/test_plan_cluster.py"),
    "wim * s3://*": ("takes a bucket", "tests/builder/test_remote.py"),
    "make bench*": ("hours; its small run is a test", "tests/test_bench.py"),
    "python -m bench*": ("hours; its small run is a test", "tests/test_bench.py"),
    "pip install *": ("installs", "Makefile"),
    "RAY_ADDRESS=*": ("takes another machine", "tests/builder/test_cluster.py"),
    "export RAY_*": ("is for the node's shell", "tests/builder/test_cluster.py"),
    "ray start *": ("starts a cluster that stays", "tests/builder/test_cluster.py"),
    "sbatch *": ("takes Slurm", ""),
    "kubectl *": ("takes Kubernetes", ""),
    "ssh *": ("takes another machine", ""),
    "file = client.files*": ("a hosted service; its files are made by hand", "tests/builder/judging/test_batch.py"),
    "client.messages.batches*": ("a hosted service; its files are made by hand", "tests/builder/judging/test_batch.py"),
    "from *import GRPOConfig*": ("is run already", "tests/train/test_rewards.py"),
}
"""What is not run here, as a pattern: why, and the test that runs it or its like ("": none does)."""
SMALLER = {
    "--trial 60": "--trial 1",
    "--pairs 5000": "--pairs 10",
    "NAME OF YOUR MODEL": "data/demo/model",
    "DPOConfig()": 'DPOConfig("out", max_steps=1, use_cpu=True, bf16=False, report_to="none")',
}
"""Figures and names that a page leaves to its reader."""


def is_elsewhere(step: Step) -> bool:
    return any(fnmatchcase(step.text, pattern) for pattern in ELSEWHERE)


def is_run(step: Step) -> bool:
    return step.language in ("sh", "python") or bool(step.file)


RUN = [page for page in PAGES if any(is_run(step) and not is_elsewhere(step) for step in steps(page))]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """docs_folder; not to be changed."""
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        docs_folder.make(folder)
        cli.main("publish runs/wim/0 runs/wim/1 --out dataset".split())
        cli.main("publish runs/mine --out mine".split())  # keeps its prompts' vectors: no page embeds them again
    return folder


@pytest.fixture
def folder(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the working folder, in which plug-ins are found as well."""
    made = shutil.copytree(start, tmp_path / "checkout", symlinks=True)
    monkeypatch.chdir(made)
    for package in (builder.judges, builder.ratings):
        own = made / package.__name__.replace(".", "/")
        own.mkdir(parents=True)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(own)])
    return made


@pytest.fixture
def hub(start: Path) -> Iterator[Hub]:
    """A Hub that holds the dataset me/facts, with the tags of two rounds."""
    published = start / "dataset"
    files = [file for file in sorted(published.rglob("*")) if file.is_file()]
    tree = {str(f.relative_to(published)): Blob(f.read_bytes(), f.suffix in LARGE) for f in files}
    with Hub({TOKEN: {"me"}}) as hub:
        repo = hub.repos["dataset", "me/facts"] = Repo(True)
        repo.tags = dict.fromkeys(("wim-round0", "wim-round1"), repo.commit(tree))
        yield hub


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_a_page_runs(page: Path, folder: Path, hub: Hub) -> None:
    if "me/facts" not in page.read_text():
        follow(page.name)
        return
    code = f"import {__name__}; {__name__}.follow({page.name!r})"  # the Hub's client reads its environment once
    child(["-c", code], hub.environment(folder / "home", TOKEN))


def follow(name: str) -> None:
    """Run the page of that name in the working folder."""
    [page] = [page for page in PAGES if page.name == name]
    for target in re.findall(r"--out (\S+)", page.read_text()):  # is not there before the page makes it
        shutil.rmtree(target, ignore_errors=True)
    for step in steps(page):
        if is_run(step) and not is_elsewhere(step):
            run(step, Path.cwd())


def run(step: Step, folder: Path) -> None:
    text = filled_in(step.text, folder)
    if step.file:
        (folder / step.file).write_text(text)
    elif step.language == "python":
        exec(compile(text, step.page, "exec"), {"__name__": "__main__"})
    elif re.match("wim annotate (?!.*(--export|--agreement))", text):
        annotate(folder / shlex.split(text)[2], *shlex.split(text)[3:])
    else:
        command([word for part in shlex.split(text) for word in sorted(glob.glob(part)) or [part]])


def filled_in(text: str, folder: Path) -> str:
    """With what a page leaves to its reader."""
    for printed, ours in SMALLER.items():
        text = text.replace(printed, ours)
    if "0f3a" in text:
        named = re.search(r"runs/\w+(/\d)?", text)
        pairs = pl.read_parquet(folder / (named[0] if named else "runs/wim/0") / "pairs.parquet")
        text = text.replace("0f3a", pairs["pair_id"][0][:4])
    return text


def command(words: list[str]) -> None:
    if words[0] == "wim":
        if "--import" in words:
            answer_batch(Path("requests.jsonl"))
        wim(words[1:])
    elif words[0] == "python":
        script(*words[1:])
    elif words[:2] == ["marimo", "edit"]:  # the editor is marimo's; the notebook is ours, and its arguments
        script(words[2], *words[words.index("--") + 1 :])
    elif words[0] == "marimo":
        child(["-m", *words])
    else:
        subprocess.run(words, check=True)


def wim(words: list[str]) -> None:
    try:
        cli.main(words)
    except SystemExit as stop:
        if stop.code:
            pytest.fail(f"wim {shlex.join(words)} ends with {stop.code}")


def script(file: str, *arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [file, *arguments])
        runpy.run_path(file, run_name="__main__")


def child(words: list[str], more: dict[str, str] | None = None) -> None:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"} | (more or {})
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def annotate(run: Path, *more: str) -> None:
    """Two people answer all that the page asks, and it is stopped."""
    with Served(run, *more) as served:
        visitor = Visitor(served.link)
        for name in ("ana", "ben"):
            visitor.post("/api/annotator", name=name)
            place = 0
            while item := visitor.item(name, place).get("item"):
                said = (
                    {"status": "chosen", "choice": ("first", "second", "tie")[place % 3]}
                    if "choose" in more
                    else {"status": "missing", "feedback": f"It lacks part {place % 5}.", "rating": 1 + place % 10}
                )
                told = visitor.post(
                    "/api/answer", annotator=name, item=item["item_id"], key=f"{name} {more} {place}", **said
                )
                assert told[0] == 200
                place += 1
        assert place
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(30) == 130


def answer_batch(requests: Path) -> None:
    """What the service does with the file of requests: it answers most of them, the others expire."""
    asked = [json.loads(line)["custom_id"] for line in requests.read_text().splitlines()]
    message = {"role": "assistant", "content": "Rating: [[7]] WIM: [[[It gives no example.]]]"}
    body = {"model": "large", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    answers = [{"custom_id": each, "response": {"status_code": 200, "body": body}, "error": None} for each in asked[3:]]
    error = {"code": "batch_expired", "message": "not within a day"}
    docs_folder.write(Path("results.jsonl"), answers)
    docs_folder.write(
        Path("errors.jsonl"), [{"custom_id": each, "response": None, "error": error} for each in asked[:3]]
    )


def test_what_is_not_run_here_is_in_a_page_and_run_where_the_table_says() -> None:
    printed = [step.text for page in PAGES for step in steps(page)]
    for pattern, (_, where) in ELSEWHERE.items():
        assert any(fnmatchcase(text, pattern) for text in printed), pattern
        assert (ROOT / where).exists(), where
