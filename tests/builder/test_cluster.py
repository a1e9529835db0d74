"""engine.scale: ray, on a real Ray: two nodes on this machine, one of them killed, one added; and a cluster of its own.

The head has no place for an engine; each node has one.
"""

import contextlib
import itertools
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from kill import RUN, Drive, Driven

from builder import encoder, params
from builder.errors import EngineError, ParamsError

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[cluster]'")

from builder.cluster import connection, parcels
from builder.cluster.pool import Pool, Size

Wim = Callable[..., int]
ROOT = Path(__file__).parents[2]
SMALL = Size(cpus=1, gpus=0, hosts=None, chunk=5, in_flight=10)
RAY = ("--set", "engine.scale=ray", "--set", "engine.ray.chunk=4", "--set", "engine.ray.in_flight=8")
ONE = (*RAY, "--set", "engine.ray.actors=1")
ECHO = ("--set", "engine.name=echo")
DEMO = (
    *("--set", "model.name=" + str(ROOT / "data/demo/model"), "--set", "engine.transformers.batch_size=4"),
    *("--set", "complete.n=2", "--set", "complete.max_tokens=32", "--set", "judge.max_tokens=32"),
)
QUICK = {"initial_delay_ms": "1000", "period_ms": "500", "timeout_ms": "10000", "failure_threshold": "3"}
"""Ray's health check of nodes: a killed one refuses at once, and one that is slow to answer is not taken for dead."""


class Nodes:
    """A cluster whose nodes come and go."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0} | SPARING)
        self.address = str(self.cluster.address)

    def have(self, count: int) -> None:
        """So many nodes beside the head."""
        while len(self.cluster.worker_nodes) < count:
            self.cluster.add_node(wait=False, num_cpus=1, **SPARING)
        self.cluster.wait_for_nodes(timeout=120)
        for node in list(self.cluster.worker_nodes)[count:]:
            self.cluster.remove_node(node)

    def add(self) -> str:
        return str(self.cluster.add_node(num_cpus=1, **SPARING).node_id)

    def kill(self, name: str) -> None:
        """Kill -9 of the node's raylet."""
        (node,) = (node for node in self.cluster.worker_nodes if node.node_id == name)
        (raylet,) = node.all_processes["raylet"]
        os.kill(raylet.process.pid, signal.SIGKILL)
        raylet.process.wait()
        self.cluster.worker_nodes.remove(node)


SPARING = {"object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as short,
    ):
        for name, value in QUICK.items():
            patch.setenv(f"RAY_health_check_{name}", value)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TMPDIR", short)
        nodes = Nodes()
        yield nodes
        nodes.cluster.shutdown()


@pytest.fixture
def two(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """Two nodes, and RAY_ADDRESS."""
    nodes.have(2)
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    yield nodes
    connection.disconnect()


def pool(make: Any, size: Size = SMALL) -> Pool[int, Any]:
    connection.connect()
    return Pool(make, size)


def counting(log: Path) -> Any:
    """Work that takes a while and says in ``log`` what it did; a result is its item's double and the node."""

    def make() -> Any:
        import ray

        node = ray.get_runtime_context().get_node_id()

        def work(items: Iterator[int]) -> Iterator[tuple[int, tuple[int, str]]]:
            for place, item in enumerate(items):
                time.sleep(0.02)
                with log.open("a") as file:
                    file.write(f"{item}\n")
                yield place, (2 * item, node)

        return work

    return make


# Nodes come and go -------------------------------------------------------------------------------------------------


def test_a_killed_node_costs_what_its_engine_had_in_hand(
    two: Nodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, killed = tmp_path / "log", ""
    by: dict[int, str] = {}
    for place, (result, node) in pool(counting(log)).run(iter(range(300))):
        assert result == 2 * place
        assert place not in by
        by[place] = node
        if not killed and len(by) > 50 and len(set(by.values())) == 2:
            killed = node
            two.kill(killed)
    assert sorted(by) == list(range(300))
    done = Counter(log.read_text().split())
    again = done.total() - 300
    assert 0 <= again <= SMALL.in_flight
    assert max(done.values()) <= 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("an engine was lost with its node or process: ")


def test_a_node_that_is_added_in_the_middle_is_used(two: Nodes, tmp_path: Path) -> None:
    two.have(1)
    results = pool(counting(tmp_path / "log")).run(itertools.count())
    before = {node for _, (_, node) in itertools.islice(results, 20)}
    added = two.add()
    assert added not in before
    assert any(node == added for _, (_, node) in itertools.islice(results, 3000))
    results.close()  # type: ignore[attr-defined]


def test_without_a_node_the_work_waits_for_one(
    two: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two.have(0)
    monkeypatch.setattr("builder.cluster.pool.PATIENCE", 0.0)
    looked = itertools.count()

    def items() -> Iterator[int]:
        yield from range(20)

    waiting = pool(counting(tmp_path / "log"))
    ready = waiting._ready

    def add_at_the_third_look() -> Any:
        if next(looked) == 2:
            two.add()
        return ready()

    monkeypatch.setattr(waiting, "_ready", add_at_the_third_look)
    assert len(list(waiting.run(items()))) == 20
    assert capsys.readouterr().err == "no node of the cluster has room for an engine (1 CPU, 0 GPU): waiting for one\n"


@pytest.mark.usefixtures("two")
def test_work_that_ends_its_process_is_told_and_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.cluster.pool.LOST", 2)

    def make() -> Any:
        return lambda items: ((place, os._exit(1)) for place, _ in enumerate(items))

    with pytest.raises(EngineError, match="engines were lost 2 times without a row"):
        list(pool(make, Size(1, 0, 1, 5, 10)).run(iter(range(3))))


@pytest.mark.usefixtures("two")
def test_an_error_of_the_work_comes_after_what_was_finished_and_the_pool_goes_on() -> None:
    def make() -> Any:
        def work(items: Iterator[int]) -> Iterator[tuple[int, int]]:
            for place, item in enumerate(items):
                if item == 3:
                    raise EngineError("three is too many")
                yield place, item

        return work

    hosts = pool(make, Size(1, 0, 1, 5, 10))
    results = hosts.run(iter(range(10)))
    assert list(itertools.islice(results, 3)) == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(EngineError, match=r"^three is too many$"):
        next(results)
    assert [item for _, item in hosts.run(iter([7, 8]))] == [7, 8]


# What nodes need ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two")
def test_nodes_get_this_code_and_folders_that_they_do_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the code is not found anyway
    connection.connect()
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "weights").write_bytes(b"learned")
    parcel = parcels.pack(folder, travels=True)
    there = parcels.pack(folder, travels=False)
    (folder / "weights").write_bytes(b"another")  # as an older one that lies there

    def make() -> Any:
        import builder

        def work(items: Iterator[int]) -> Iterator[tuple[int, tuple[Any, bytes]]]:
            for place, _ in enumerate(items):
                yield place, (builder.__file__, (parcel.here() / "weights").read_bytes())

        return work

    for _, (file, weights) in pool(make).run(iter(range(12))):
        assert "py_modules_files" in file
        assert weights == b"learned"
    (folder / "weights").unlink()
    with pytest.raises(EngineError, match="put it on a disk that all nodes share"):
        there.here()


# The same bytes ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(wim: Wim, tmp_path: Path) -> Path:
    """The working folder, with 6 prompts of the demo."""
    source = f"prompts.source={ROOT}/data/demo/prompts.jsonl"
    assert wim("prompts", "runs", "--set", source, "--set", "prompts.limit=6") == 0
    return tmp_path


def tables(wim: Wim, run: str, *settings: str) -> dict[str, bytes]:
    """All three tables of a run, from nothing."""
    assert wim("complete", run, "--judge", *DEMO, *settings) == 0
    assert wim("embed", run, *DEMO, *settings) == 0
    Path(".wim").rename(f"rows-{Path(run).parent.name}")
    return {file.name: file.read_bytes() for file in Path(run).glob("*.parquet")}


@pytest.mark.usefixtures("two")
def test_the_tables_are_those_of_one_machine(
    wim: Wim, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(encoder, "PART", 16)
    monkeypatch.setattr("builder.cluster.pool.PATIENCE", 600.0)
    alone = tables(wim, "runs/alone/0")
    capfd.readouterr()
    spread = tables(wim, "runs/spread/0", *ONE)
    assert capfd.readouterr().err == ""
    assert sorted(spread) == ["completions.parquet", "embeddings.parquet", "feedback.parquet"]
    assert spread == alone
    kept = {
        name: sorted(file.parent.name for file in folder.glob(f"rows-{name}/*/*/*.json"))
        for name in ("alone", "spread")
    }
    assert kept["spread"] == kept["alone"] != []  # the rows are known by the same settings


@pytest.mark.usefixtures("two", "folder")
def test_an_error_of_the_engine_is_the_same_line(wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    said = []
    for scale in ((), ONE):
        assert wim("complete", RUN, *ECHO, "--set", "complete.top_p=0.5", *scale) == 1
        said.append(capsys.readouterr().err)
    assert said[0] == said[1] == "wim: the engine echo has no top_p; set complete.top_p to 1\n"


# Stops -------------------------------------------------------------------------------------------------------------

MANY = 1600
"""Rows that, a few at a time, take seconds."""


def kept(folder: Path) -> int:
    return sum(pq.read_metadata(part).num_rows for part in folder.glob(".wim/complete/*/*.parquet"))


@contextlib.contextmanager
def under_way(folder: Path, wim: Wim, write_jsonl: Any) -> Iterator[Driven]:
    """`wim complete` as a process that has kept some rows and has many to do."""
    write_jsonl([{"prompt": f"Tell me about thing number {i}"} for i in range(MANY // 4)], "prompts.jsonl")
    assert wim("prompts", "runs", "--set", "prompts.source=prompts.jsonl") == 0
    with contextlib.ExitStack() as processes:
        while not kept(folder):
            driven = processes.enter_context(Driven(folder, ["complete", RUN, *ECHO, *ONE], Drive(part=16)))
            while not kept(folder) and driven.process.poll() is None:
                time.sleep(0.05)
            # Ray gives a node 30 s to start, which a machine that has much else to do may not have.
            assert kept(folder) or "timed out during startup" in (said := driven.end().said), said
        yield driven


@pytest.mark.usefixtures("two")
def test_after_kill_9_of_the_driver_the_same_command_goes_on(wim: Wim, tmp_path: Path, write_jsonl: Any) -> None:
    with under_way(tmp_path, wim, write_jsonl) as driven:
        driven.process.kill()
    parts = {file: file.read_bytes() for file in tmp_path.glob(".wim/complete/*/*.parquet")}
    assert 0 < kept(tmp_path) < MANY
    assert wim("complete", RUN, *ECHO, *RAY) == 0
    assert kept(tmp_path) == MANY
    assert all(file.read_bytes() == content for file, content in parts.items())
    assert wim("complete", "runs/b/0", *ECHO) == 0  # rows of a cluster count on one machine
    assert kept(tmp_path) == MANY
    (tmp_path / ".wim").rename(tmp_path / "rows")
    assert wim("complete", "runs/alone/0", *ECHO) == 0
    table = "completions.parquet"
    assert (tmp_path / "runs/alone/0" / table).read_bytes() == (tmp_path / RUN / table).read_bytes()


def test_a_cluster_of_its_own_says_nothing_and_ends_with_the_stop(
    wim: Wim, tmp_path: Path, write_jsonl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp")
    with under_way(tmp_path, wim, write_jsonl) as driven:
        (own,) = Path("/tmp").glob(f"wim-ray-{driven.process.pid}-*")
        driven.process.send_signal(signal.SIGINT)
        ended = driven.end()
    assert ended.code == 130
    assert ended.said == "wim: complete was stopped; finished rows are kept: the same command goes on from there\n"
    assert not own.exists()


# Parameters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["actors=0", "gpus=-1", "chunk=0", "in_flight=3", "worker=1"])
def test_settings_out_of_range_are_named(setting: str) -> None:
    with pytest.raises(ParamsError, match=r"engine\.ray\."):
        params.load(None, [f"engine.ray.{setting}"])


@pytest.mark.usefixtures("folder")
def test_a_cluster_that_does_not_answer_is_one_line(
    wim: Wim, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    capfd.readouterr()
    assert wim("complete", RUN, *ECHO, *RAY) == 1
    said = capfd.readouterr().err
    assert said.startswith("wim: RAY_ADDRESS 127.0.0.1:1: no cluster of Ray answers")
    assert said.count("\n") == 1
