"""Runs at hf:// URLs, against a Hub on loopback: what a command makes is one commit, and nobody's work is lost."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import Blob, Handler, Hub

RUN = "hf://datasets/me/data/runs/mine"
DATA = ("dataset", "me/data")
Ran = subprocess.CompletedProcess[str]
RECORD = {"prompt": "why?", "completion": "so", "feedback": "leaves out who", "rating": 3}


@pytest.fixture
def hub() -> Iterator[Hub]:
    """With the repository me/data, in which nothing is."""
    with Hub({"hf_w": {"me"}, "hf_r": set()}) as hub:
        hub.create_repo(*DATA)
        yield hub


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Callable[..., Ran]:
    """Runs `wim` in a process of its own: the Hub's client reads its environment once."""
    (tmp_path / "in.jsonl").write_text(json.dumps(RECORD) + "\n")

    def call(*words: str, token: str = "hf_w") -> Ran:
        own = {"PYTHONPATH": str(Path(__file__).parents[2]), "NO_PROXY": "127.0.0.1"}
        environment = os.environ | own | hub.environment(tmp_path / "home", token)
        command = [sys.executable, "-m", "builder.cli", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return call


def others_commit(hub: Hub, path: str) -> Callable[[Handler], None]:
    """A fault: somebody else's commit arrives just before this one."""

    def fault(handler: Handler) -> None:
        del handler
        repo = hub.repos[DATA]
        repo.commit(repo.commits[repo.head()] | {path: Blob(b"theirs", False)})

    return fault


def test_a_command_is_one_commit_of_what_it_makes_in_a_folder(
    hub: Hub, client: Callable[..., Ran], tmp_path: Path
) -> None:
    hub.faults = [("POST .*/commit/", others_commit(hub, "elsewhere.txt"))]
    assert client("ingest", "in.jsonl", "--out", "mine").returncode == 0
    ran = client("ingest", "in.jsonl", "--out", RUN)
    assert (ran.returncode, ran.stderr) == (0, f"{RUN}: 4 sent (0.0 MB)\n")
    there = {path: content for path, content in hub.tree("me/data").items() if path.startswith("runs/")}
    assert there == {f"runs/mine/{file.name}": file.read_bytes() for file in (tmp_path / "mine").iterdir()}
    assert len(hub.repos[DATA].commits) == 3
    (tmp_path / "in.jsonl").write_text("no record\n" + (tmp_path / "in.jsonl").read_text())
    assert client("ingest", "in.jsonl", "--out", RUN).returncode == 0
    assert len(hub.repos[DATA].commits) == 4
    assert "runs/mine/rejected.jsonl" in hub.tree("me/data")


def test_what_others_committed_meanwhile_is_left_as_it_is(hub: Hub, client: Callable[..., Ran]) -> None:
    hub.faults = [("POST .*/commit/", others_commit(hub, "runs/mine/ingest.json"))]
    ran = client("ingest", "in.jsonl", "--out", RUN)
    assert ran.returncode == 1
    assert f"wim: {RUN}/ingest.json: was changed by somebody else" in ran.stderr
    assert [path for path in hub.tree("me/data") if path.startswith("runs/")] == ["runs/mine/ingest.json"]


def test_who_may_not_write_is_told_and_what_was_made_is_kept(hub: Hub, client: Callable[..., Ran]) -> None:
    ran = client("ingest", "in.jsonl", "--out", RUN, token="hf_r")
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"wim: {RUN}: ")
    assert "403" in ran.stderr
    assert "what was made is kept here" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert client("explain", RUN).returncode == 1  # there are no pairs yet
    assert "runs/mine/prompts.parquet" in hub.tree("me/data")


def test_a_repository_that_is_not_there_is_told(client: Callable[..., Ran]) -> None:
    told = "there is no me/none, or these credentials may not see it"
    assert client("pair", "hf://me/none/run").stderr == f"wim: hf://me/none/run: {told}\n"
