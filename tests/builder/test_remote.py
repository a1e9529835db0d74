"""Runs at s3:// URLs, against an S3 server on loopback: the same bytes as here, whole objects, nobody's work lost."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builder import pair, remote
from builder.errors import StorageError
from builder.locations import Place, named

pytest.importorskip("s3fs", reason="s3fs is not installed: pip install -e '.[storage]'")
pytest.importorskip("moto", reason="moto is not installed: make setup-dev")

Wim = Callable[..., int]
RUN = "s3://bucket/runs/mine"
RECORDS = [
    {"prompt": f"question {p}", "completion": f"answer {p} {i}", "feedback": f"leaves out {'so ' * i} {p}", "rating": i}
    for p in range(4)
    for i in range(1, 4)
]
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
}


class Bucket:
    """The objects of the bucket, seen by another client."""

    def __init__(self, url: str) -> None:
        from botocore.session import get_session

        key = {"aws_access_key_id": "other", "aws_secret_access_key": "other", "region_name": "us-east-1"}
        self.client: Any = get_session().create_client("s3", endpoint_url=url, **key)
        self.client.create_bucket(Bucket="bucket")

    def clear(self) -> None:
        for key in self.all():
            self.client.delete_object(Bucket="bucket", Key=key)

    def all(self) -> dict[str, bytes]:
        listed = self.client.list_objects_v2(Bucket="bucket").get("Contents", [])
        return {each["Key"]: self.get(each["Key"]) for each in listed}

    def get(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket="bucket", Key=key)["Body"].read()
        return content

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket="bucket", Key=key, Body=content)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Bucket]]:
    """The URL of an S3 server that ends with the module, and its bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None and socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.05)
            assert process.poll() is None
            url = f"http://127.0.0.1:{port}"
            yield url, Bucket(url)
        finally:
            process.kill()


@pytest.fixture
def bucket(served: tuple[str, Bucket], monkeypatch: pytest.MonkeyPatch, wim: Wim, tmp_path: Path) -> Bucket:
    """An empty bucket, and in.jsonl in the working folder."""
    url, bucket = served
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": url}).items():
        monkeypatch.setenv(name, value)
    del wim
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    bucket.clear()
    return bucket


def files(run: Path) -> dict[str, bytes]:
    return {f"runs/mine/{file.name}": file.read_bytes() for file in run.iterdir()}


def another_machine() -> None:
    shutil.rmtree(".wim")


def test_tables_at_a_url_are_those_of_a_folder_byte_by_byte(bucket: Bucket, wim: Wim, tmp_path: Path) -> None:
    here = tmp_path / "mine"
    for run in (here, RUN):
        assert wim("build", "in.jsonl", "--out", run) == 0
        assert bucket.all() == ({} if run == here else files(here))
    another_machine()
    for run in (here, RUN):
        for stage in ("rate", "pair"):
            assert wim(stage, run, "--set", "rate.method=numerical") == 0
    assert bucket.all() == files(here)


def test_the_user_sees_urls(bucket: Bucket, wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim("build", "in.jsonl", "--out", RUN) == 0
    assert wim("stats", RUN, "--json") == 0
    bucket.put("runs/mine/pairs.parquet", b"no table")
    assert wim("explain", RUN) == 1
    said = capsys.readouterr()
    assert list(json.loads(said.out.splitlines()[-1])) == [RUN]
    assert f"wim: {RUN}/pairs.parquet: not a complete Parquet file" in said.err
    assert ".wim" not in said.out + said.err


def test_what_changed_there_is_fetched_and_a_command_that_fails_sends_nothing(bucket: Bucket, wim: Wim) -> None:
    assert wim("build", "in.jsonl", "--out", RUN) == 0
    before = bucket.all()
    bucket.put("runs/mine/ratings.parquet", b"no table")
    assert wim("pair", RUN) == 1
    bucket.put("runs/mine/ratings.parquet", before["runs/mine/ratings.parquet"])
    assert wim("pair", RUN) == 0
    assert bucket.all() == before


def test_what_a_command_removes_is_removed_there(bucket: Bucket, wim: Wim) -> None:
    with Path("in.jsonl").open("a") as file:
        file.write("no record\n")
    assert wim("ingest", "in.jsonl", "--out", RUN) == 0
    assert "runs/mine/rejected.jsonl" in bucket.all()
    Path("in.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    another_machine()
    assert wim("ingest", "in.jsonl", "--out", RUN) == 0
    assert "runs/mine/rejected.jsonl" not in bucket.all()


def test_prompts_of_a_folder_above_and_a_policy_at_a_url(bucket: Bucket, wim: Wim, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "why?"}\n{"prompt": "how?"}\n')
    echo = ["--set", "engine.name=echo"]
    assert wim("base", "s3://bucket/policies/base") == 0
    assert wim("prompts", "s3://bucket/runs", "--set", f"prompts.source={tmp_path / 'prompts.jsonl'}") == 0
    another_machine()
    assert wim("complete", "s3://bucket/runs/a/0", "--policy", "s3://bucket/policies/base", *echo) == 0
    shared = ["runs/heldout.parquet", "runs/prompts.parquet"]
    assert sorted(bucket.all()) == ["policies/base/policy.json", "runs/a/0/completions.parquet", *shared]


KILLED = """
import os, signal, sys
from builder import cli, remote
send, sent = remote.Store._send, []
def killed(self, key):
    sent.append(key)
    if len(sent) == 4:
        put = self.files._s3.meta.events
        put.register("request-created.s3.PutObject", lambda **_: os.kill(os.getpid(), signal.SIGKILL))
    return send(self, key)
remote.Store._send = killed
cli.main(sys.argv[1:])
"""


def test_after_kill_9_while_it_sends_objects_are_whole_and_the_same_command_mends_it(bucket: Bucket, wim: Wim) -> None:
    here = Path("mine")
    assert wim("build", "in.jsonl", "--out", here) == 0
    command = [sys.executable, "-c", KILLED, "build", "in.jsonl", "--out", RUN]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    there = bucket.all()
    assert len(there) == 3
    assert there.items() < files(here).items()
    assert wim("build", "in.jsonl", "--out", RUN) == 0
    assert bucket.all() == files(here)


def test_what_others_changed_meanwhile_is_left_as_it_is(
    bucket: Bucket, wim: Wim, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wim("build", "in.jsonl", "--out", RUN) == 0
    before, run = bucket.all(), pair.run

    def meanwhile(*given: Any, **options: Any) -> Any:
        bucket.put("runs/mine/stats.json", b"{}")
        return run(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(pair, "run", meanwhile)
        assert wim("pair", RUN, "--arm", "other") == 1
    assert f"wim: {RUN}/stats.json: was changed by somebody else" in capsys.readouterr().err
    assert bucket.all() == before | {"runs/mine/stats.json": b"{}"}
    assert wim("pair", RUN, "--arm", "other") == 0
    assert bucket.get("runs/mine/stats.json") not in (b"{}", before["runs/mine/pairs.parquet"])


@pytest.mark.parametrize("before", [b"old", None], ids=["changed", "made"])
def test_a_change_after_the_last_look_is_seen_by_the_server(bucket: Bucket, before: bytes | None) -> None:
    if before:
        bucket.put("runs/mine/a.json", before)
    place = Place("s3", "bucket/runs/mine")
    store = remote.Store(place)
    store.fetch([place])
    place.copy.mkdir(parents=True, exist_ok=True)
    (place.copy / "a.json").write_text("ours")
    changed = store.changes()
    bucket.put("runs/mine/a.json", b"theirs")
    with pytest.raises(StorageError, match=r"runs/mine/a\.json: was changed by somebody else"):
        store.send(changed)
    assert bucket.get("runs/mine/a.json") == b"theirs"


def test_many_parts_are_one_object(bucket: Bucket) -> None:
    place = Place("s3", "bucket/runs/mine")
    store = remote.Store(place)
    place.copy.mkdir(parents=True)
    content = bytes(range(256)) * 430_000
    (place.copy / "large").write_bytes(content)
    store.send(store.changes())
    assert bucket.client.head_object(Bucket="bucket", Key="runs/mine/large")["ETag"].strip('"').endswith("-3")
    assert bucket.get("runs/mine/large") == content


def test_what_cannot_be_reached_is_told_in_one_line_with_the_url(
    bucket: Bucket, wim: Wim, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del bucket
    assert wim("pair", "s3://absent/runs") == 1
    assert capsys.readouterr().err == "wim: s3://absent/runs: there is no absent, or it is not shown to you\n"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert wim("pair", RUN) == 1
    assert capsys.readouterr().err == f"wim: {RUN}: Unable to locate credentials\n"
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3")  # what it has found before
    assert wim("pair", RUN) == 1
    assert capsys.readouterr().err == f"wim: {RUN}: needs a package that is not installed: pip install s3fs\n"


@pytest.mark.parametrize(
    "words",
    [
        ["annotate", RUN],
        ["compare", RUN, "other"],
        ["train", "merge", RUN],
        ["pair", "s3://bucket/../../elsewhere"],
        ["publish", RUN, f"{RUN}2"],
    ],
)
def test_what_takes_no_url_says_so(words: list[str], wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim(*words) == 2
    assert "wim: s3://bucket/" in capsys.readouterr().err


def test_this_folder_is_no_url(wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim("pair", ".") == 1
    assert "prompts.parquet does not exist: run `wim prompts .` first" in capsys.readouterr().err


def test_columns_stay_where_they_are_where_a_url_is_named() -> None:
    table = ".wim/remote/s3/bucket/a  1\nother                    2"
    assert [line.index(digit) for line, digit in zip(named(table).splitlines(), "12", strict=True)] == [25, 25]
    assert named(f"{Path.cwd()}/.wim/remote/gs/b/x: no") == "gs://b/x: no"
