"""Runs at gs:// URLs, against an emulator of Google's storage on loopback.

The two packages are in no lock: they would bring a dozen others into every set-up.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from builder.errors import StorageError
from builder.remote.locations import Place
from builder.remote.transfer import Transfer

WANTED = "needs pip install gcsfs gcp-storage-emulator"
pytest.importorskip("gcsfs", reason=WANTED)
pytest.importorskip("gcp_storage_emulator", reason=WANTED)

Wim = Callable[..., int]
RUN = "gs://bucket/runs/mine"
RECORD = '{"prompt": "why?", "completion": "so", "feedback": "leaves out who", "rating": 3}\n'


class Bucket:
    """The objects of the bucket, seen by another client."""

    def __init__(self, url: str) -> None:
        self.url = url

    def all(self) -> dict[str, bytes]:
        with urlopen(f"{self.url}/storage/v1/b/bucket/o") as answer:
            return {each["name"]: self.get(each["name"]) for each in json.load(answer).get("items", [])}

    def get(self, key: str) -> bytes:
        with urlopen(f"{self.url}/storage/v1/b/bucket/o/{quote(key, '')}?alt=media") as answer:
            content: bytes = answer.read()
        return content

    def put(self, key: str, content: bytes) -> None:
        url = f"{self.url}/upload/storage/v1/b/bucket/o?uploadType=media&name={quote(key, '')}"
        urlopen(Request(url, content, {"Content-Type": "application/octet-stream"})).close()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, wim: Wim) -> Iterator[Bucket]:
    """An empty one, of a server that ends with the test."""
    from gcp_storage_emulator.server import create_server

    del wim
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    server.start()
    server._api.is_running.wait()
    url = f"http://127.0.0.1:{server._api._httpd.server_port}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield Bucket(url)
    server.stop()


def transfer(content: bytes) -> Transfer:
    """A fetched one, whose copy then holds ``a.json``."""
    begun = Transfer(Place("gs", "bucket/runs/mine"))
    begun.fetch(set())
    file = begun.copies.file("bucket/runs/mine/a.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    begun.decide()
    return begun


def test_tables_at_a_url_are_those_of_a_folder_and_come_and_go(bucket: Bucket, wim: Wim, tmp_path: Path) -> None:
    for text in (RECORD, f"no record\n{RECORD}", RECORD):
        (tmp_path / "in.jsonl").write_text(text)
        for run in (tmp_path / "mine", RUN):
            assert wim("ingest", "in.jsonl", "--out", run) == 0
        here = {f"runs/mine/{file.name}": file.read_bytes() for file in (tmp_path / "mine").iterdir()}
        assert bucket.all() == here


@pytest.mark.parametrize("size", [10, 6_000_000], ids=["in one request", "in several"])
def test_an_object_is_written_over_the_one_that_was_read(bucket: Bucket, size: int) -> None:
    bucket.put("runs/mine/a.json", b"old")
    begun = transfer(b"n" * size)
    begun.check()
    begun.send()
    assert bucket.get("runs/mine/a.json") == b"n" * size


def test_what_others_changed_meanwhile_is_left_as_it_is(bucket: Bucket) -> None:
    bucket.put("runs/mine/a.json", b"old")
    begun = transfer(b"ours")
    bucket.put("runs/mine/a.json", b"theirs")
    with pytest.raises(StorageError, match=r"runs/mine/a\.json: was changed by somebody else"):
        begun.check()
    assert bucket.get("runs/mine/a.json") == b"theirs"


def test_a_bucket_that_is_not_there_is_told(bucket: Bucket, wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    del bucket
    assert wim("pair", "gs://absent/runs") == 1
    told = "there is no absent, or these credentials may not see it"
    assert capsys.readouterr().err == f"wim: gs://absent/runs: {told}\n"
