"""Runs at s3:// URLs, against an S3 server on loopback: the same bytes as here, whole objects, nobody's work lost."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import loopback
import numpy as np
import pyarrow as pa
import pytest

from builder import cli, pair, tables
from builder.errors import StorageError
from builder.ids import text_id
from builder.remote.locations import Place
from builder.remote.objects import Objects
from builder.remote.transfer import Transfer

pytest.importorskip("s3fs", reason="s3fs is not installed: pip install -e '.[storage]'")
if not all(map(find_spec, ("moto", "flask_cors"))):
    pytest.skip("moto and its server are not installed: make setup-dev", allow_module_level=True)

Wim = Callable[..., int]
Output = pytest.CaptureFixture[str]
RUN = "s3://bucket/runs/mine"
SERVER = Path(__file__).parents[1] / "s3_server.py"
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
    "AWS_MAX_ATTEMPTS": "1",
    "NO_PROXY": "127.0.0.1",
}


class Bucket:
    """The objects of the bucket, seen by another client; ``stop`` and ``start`` are those of its server."""

    def __init__(self) -> None:
        from botocore.session import get_session

        command = [sys.executable, SERVER]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{self._said()}"
        key = {"aws_access_key_id": "other", "aws_secret_access_key": "other", "region_name": "us-east-1"}
        self.client: Any = get_session().create_client("s3", endpoint_url=self.url, **key)
        self.client.create_bucket(Bucket="bucket")

    def stop(self) -> None:
        self._tell("stop")

    def start(self) -> None:
        self._tell("start")

    def end(self) -> None:
        self.server.communicate()  # it ends with what it reads

    def _tell(self, what: str) -> None:
        assert self.server.stdin is not None
        print(what, file=self.server.stdin, flush=True)
        assert self._said() == "done"

    def _said(self) -> str:
        assert self.server.stdout is not None
        return self.server.stdout.readline().strip()

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
def served() -> Iterator[Bucket]:
    bucket = Bucket()
    yield bucket
    bucket.end()


def embed(run: Path) -> None:
    """embeddings.parquet of numbers by chance: with the model, most of the tests' time would be its loading."""
    texts = [*tables.read(run / "completions.parquet", "completions")["text"]]
    texts += [*tables.read(run / "feedback.parquet", "feedback")["wim"]]
    vectors = np.random.default_rng(0).normal(size=(len(texts), 4)).astype(np.float32)
    known = {"tokens": [1] * len(texts), "truncated": [False] * len(texts)}
    columns = {"text_id": [text_id(text) for text in texts], "embedding": list(vectors), **known}
    schema = tables.embeddings_schema(4)
    with tables.writer(run / "embeddings.parquet", schema, {}) as out:
        out.write_table(pa.table(columns, schema))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with in.jsonl, and the run made of it in ``mine``."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "in.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    with chdir(folder):
        cli.main(["ingest", "in.jsonl", "--out", "mine"])
        embed(Path("mine"))
        cli.main(["rate", "mine"])
        cli.main(["pair", "mine"])
    return folder


@pytest.fixture
def bucket(served: Bucket, monkeypatch: pytest.MonkeyPatch, wim: Wim) -> Bucket:
    """An empty one; the wim fixture has made the working folder."""
    del wim
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": served.url}).items():
        monkeypatch.setenv(name, value)
    served.clear()
    return served


@pytest.fixture
def here(bucket: Bucket, made: Path, tmp_path: Path) -> Path:
    """The run of ``made`` in the working folder, beside in.jsonl."""
    del bucket
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "mine"


def files(run: Path) -> dict[str, bytes]:
    return {f"runs/mine/{file.name}": file.read_bytes() for file in run.iterdir()}


def filled(bucket: Bucket, run: Path) -> dict[str, bytes]:
    """The run's files, put into the bucket."""
    for key, content in files(run).items():
        bucket.put(key, content)
    return bucket.all()


def another_machine() -> None:
    shutil.rmtree(".wim")


def transfer(bucket: Bucket, content: str | bytes | None = None) -> Transfer:
    """A fetched one, whose copy then holds ``a.json``."""
    del bucket
    begun = Transfer(Place("s3", "bucket/runs/mine"))
    begun.fetch(set())
    if content:
        file = begun.copies.file("bucket/runs/mine/a.json")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        begun.decide()
    return begun


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """It happens while `wim pair` works."""
    run = pair.run

    def disturbed(*given: Any, **options: Any) -> Any:
        happens()
        return run(*given, **options)

    monkeypatch.setattr(pair, "run", disturbed)


def test_tables_at_a_url_are_those_of_a_folder_byte_by_byte(bucket: Bucket, wim: Wim, here: Path) -> None:
    assert wim("ingest", "in.jsonl", "--out", RUN) == 0
    bucket.put("runs/mine/embeddings.parquet", (here / "embeddings.parquet").read_bytes())
    another_machine()
    for stage in ("rate", "pair"):
        assert wim(stage, RUN) == 0
    assert bucket.all() == files(here)


def test_the_user_sees_urls(bucket: Bucket, wim: Wim, here: Path, capsys: Output) -> None:
    filled(bucket, here)
    assert wim("stats", RUN, "--json") == 0
    bucket.put("runs/mine/pairs.parquet", b"no table")
    assert wim("explain", RUN) == 1
    bucket.put("in.jsonl", b"no record\n" + (here.parent / "in.jsonl").read_bytes())
    assert wim("ingest", "s3://bucket/in.jsonl", "--out", RUN) == 0
    said = capsys.readouterr()
    assert list(json.loads(said.out.splitlines()[0])) == [RUN]
    assert f"wim: {RUN}/pairs.parquet: not a complete Parquet file" in said.err
    assert "rejected: s3://bucket/in.jsonl, line 1" in said.err
    assert json.loads(bucket.get("runs/mine/rejected.jsonl"))["file"] == "s3://bucket/in.jsonl"
    assert ".wim" not in said.out + said.err


def test_what_changed_there_is_fetched_and_a_command_that_fails_sends_nothing(
    bucket: Bucket, wim: Wim, here: Path
) -> None:
    before = filled(bucket, here)
    bucket.put("runs/mine/ratings.parquet", b"no table")
    assert wim("pair", RUN) == 1
    bucket.put("runs/mine/ratings.parquet", before["runs/mine/ratings.parquet"])
    assert wim("pair", RUN) == 0
    assert bucket.all() == before


def test_what_a_command_removes_is_removed_there(bucket: Bucket, wim: Wim, here: Path) -> None:
    filled(bucket, here)
    bucket.put("runs/mine/rejected.jsonl", b"{}\n")
    for run in (here, RUN):
        assert wim("ingest", "in.jsonl", "--out", run) == 0
    assert bucket.all() == files(here)


def test_prompts_of_a_folder_above_and_a_policy_at_a_url(bucket: Bucket, wim: Wim, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "why?"}\n{"prompt": "how?"}\n')
    echo = ["--set", "engine.name=echo"]
    assert wim("base", "s3://bucket/policies/base") == 0
    assert wim("prompts", "s3://bucket/runs", "--set", f"prompts.source={tmp_path / 'prompts.jsonl'}") == 0
    another_machine()
    assert wim("complete", "s3://bucket/runs/a/0", "--policy", "s3://bucket/policies/base", *echo) == 0
    shared = ["runs/heldout.parquet", "runs/prompts.parquet"]
    assert sorted(bucket.all()) == ["policies/base/policy.json", "runs/a/0/completions.parquet", *shared]


def test_prompts_that_lie_here_are_none_of_a_run_that_lies_there(
    bucket: Bucket, wim: Wim, here: Path, capsys: Output
) -> None:
    del bucket
    shutil.copy(here / "prompts.parquet", here.parent)
    assert wim("complete", RUN, "--set", "engine.name=echo") == 1
    assert f"{RUN}/prompts.parquet does not exist" in capsys.readouterr().err


KILLED = """
import os, signal, sys
from builder import cli
from builder.remote.objects import Objects
put, sent = Objects.put, []
def killed(self, *given):
    sent.append(given)
    if len(sent) == 3:
        events = self.files._s3.meta.events
        events.register("request-created.s3.PutObject", lambda **_: os.kill(os.getpid(), signal.SIGKILL))
    return put(self, *given)
Objects.put = killed
cli.main(sys.argv[1:])
"""


def test_after_kill_9_while_it_sends_objects_are_whole_and_any_command_sends_the_rest(
    bucket: Bucket, wim: Wim, here: Path
) -> None:
    assert wim("ingest", "in.jsonl", "--out", here) == 0
    command = [sys.executable, "-c", KILLED, "ingest", "in.jsonl", "--out", RUN]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    there = bucket.all()
    assert len(there) == 2
    assert there.items() < files(here).items()
    assert wim("explain", RUN) == 1  # there are no pairs yet
    assert bucket.all() == files(here)


def test_what_cannot_be_sent_is_kept_for_the_next_command(
    bucket: Bucket, wim: Wim, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    before = filled(bucket, here)
    with monkeypatch.context() as patch:
        meanwhile(patch, bucket.stop)
        assert wim("pair", RUN, "--arm", "other") == 1
    assert "what was made is kept here, and any command on this URL sends it" in capsys.readouterr().err
    bucket.start()
    assert bucket.all() == before
    assert wim("explain", RUN) == 0
    assert wim("pair", here, "--arm", "other") == 0
    assert bucket.all() == files(here)


def test_what_others_changed_meanwhile_is_left_as_it_is(
    bucket: Bucket, wim: Wim, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    before = filled(bucket, here)
    with monkeypatch.context() as patch:
        meanwhile(patch, lambda: bucket.put("runs/mine/stats.json", b"{}"))
        assert wim("pair", RUN, "--arm", "other") == 1
    assert f"wim: {RUN}/stats.json: was changed by somebody else" in capsys.readouterr().err
    assert bucket.all() == before | {"runs/mine/stats.json": b"{}"}
    assert wim("pair", RUN, "--arm", "other") == 0
    assert wim("pair", here, "--arm", "other") == 0
    assert bucket.all() == files(here)


def test_two_machines_that_make_the_same_are_at_peace(
    bucket: Bucket, wim: Wim, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(bucket, here)
    assert wim("pair", here, "--arm", "other") == 0
    meanwhile(monkeypatch, lambda: bucket.put("runs/mine/pairs.parquet", (here / "pairs.parquet").read_bytes()))
    assert wim("pair", RUN, "--arm", "other") == 0
    assert bucket.all() == files(here)


def test_what_changes_while_it_is_read_is_not_read_in_halves(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put("runs/mine/a.json", b"old")
    bucket.put("runs/mine/b.json", b"old")
    get = Objects.get

    def disturbed(self: Objects, key: str, file: Path) -> None:
        get(self, key, file)
        bucket.put("runs/mine/a.json", b"new")

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "get", disturbed)
        with pytest.raises(StorageError, match="was changed while it was read; run the same command again"):
            transfer(bucket)
    read = transfer(bucket)
    assert read.copies.file("bucket/runs/mine/a.json").read_bytes() == b"new"


@pytest.mark.parametrize("before", [b"old", None], ids=["changed", "made"])
def test_a_change_after_the_last_look_is_seen_by_the_server(bucket: Bucket, before: bytes | None) -> None:
    if before:
        bucket.put("runs/mine/a.json", before)
    begun = transfer(bucket, "ours")
    begun.check()
    bucket.put("runs/mine/a.json", b"theirs")
    with pytest.raises(StorageError, match=r"runs/mine/a\.json: was changed by somebody else"):
        begun.send()
    assert bucket.get("runs/mine/a.json") == b"theirs"


def test_many_parts_are_one_object(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3fs.core.calculate_chunksize", lambda *_, **__: 5 << 20)
    content = bytes(range(256)) * 43_000
    transfer(bucket, content).send()
    assert bucket.client.head_object(Bucket="bucket", Key="runs/mine/a.json")["ETag"].strip('"').endswith("-3")
    assert bucket.get("runs/mine/a.json") == content


class Refusing(loopback.Handler):
    """A service that knows nobody."""

    def do_HEAD(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_what_cannot_be_reached_is_told_in_one_line_with_the_url(
    bucket: Bucket, wim: Wim, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    del bucket
    assert wim("pair", "s3://absent/runs") == 1
    told = "there is no absent, or these credentials may not see it"
    assert capsys.readouterr().err == f"wim: s3://absent/runs: {told}\n"
    with loopback.Server(Refusing) as server, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        assert wim("pair", RUN) == 1
        told = "credentials are refused, or may not do this: Forbidden"
        assert capsys.readouterr().err == f"wim: {RUN}: {told}\n"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert wim("pair", RUN) == 1
    assert capsys.readouterr().err == f"wim: {RUN}: Unable to locate credentials\n"
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3")  # what it has found before
    assert wim("pair", RUN) == 1
    assert capsys.readouterr().err == f"wim: {RUN}: needs a package that is not installed: pip install s3fs\n"
