"""`wim publish --push` by the real client against a Hub on loopback: what is sent, what fails, and how it goes on."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hub_server import Blob, Fault, Handler, Hub, Repo, nothing, reset, status
from published import READER, ROOT, TOKEN, Client, contents

from builder import tables

WIM = ("publish", "runs/wim/0", "runs/wim/1", "--repo", "me/facts", "--push")


def has(text: bytes, token: str = TOKEN) -> bool:
    return token.encode() in text


# What is sent --------------------------------------------------------------------------------------------------------


def test_only_what_was_made_is_sent_to_a_private_repository_and_tagged(
    hub: Hub, client: Client, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    for stray in ("token", "debug.log", ".cache/huggingface/token", "data/notes.txt", "data/wim-round0/raw.jsonl"):
        (out / stray).parent.mkdir(parents=True, exist_ok=True)
        (out / stray).write_text(TOKEN)
    done = client(*WIM, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["pushed"], said["tag"], said["private"]) == ("me/facts", "wim-round1", True)
    tree = hub.tree("me/facts")
    assert tree.pop(".gitattributes")
    assert set(tree) == set(said["files"])
    assert tree == {name: content for name, content in contents(out).items() if name in said["files"]}
    repo = hub.repos["dataset", "me/facts"]
    assert repo.private
    assert repo.tags == {"wim-round1": repo.head()}


def test_the_token_is_in_no_file_and_no_output_and_large_files_are_sent_without_it(
    hub: Hub, client: Client, made: Path, tmp_path: Path
) -> None:
    hub.faults = [("POST .*/commit/", status(500))]
    ran = [client(*WIM, "--out", tmp_path / "dataset") for _ in range(2)]
    ran.append(client(*WIM, "--out", tmp_path / "dataset", token=f"{TOKEN}\u00e9"))  # no header can hold this
    assert [done.returncode for done in ran] == [1, 0, 1]
    assert not any(TOKEN in done.stdout + done.stderr for done in ran)
    assert ran[2].stderr.startswith("wim: publish: pushing to me/facts failed: ")
    assert not any(has(content) for folder in (tmp_path, made) for content in contents(folder).values())
    assert not any(has(content) for content in hub.tree("me/facts").values())
    assert not any(has(asked.body) for asked in hub.asked)
    assert {asked.token for asked in hub.asked if asked.method == "PUT"} == {None}


def test_publishing_again_sends_nothing_and_other_rows_get_a_tag_of_their_own(
    hub: Hub, client: Client, tmp_path: Path
) -> None:
    repo = ("--out", tmp_path / "dataset", "--json")
    assert client(*WIM, *repo).returncode == 0
    first = hub.uploads()
    assert json.loads(client(*WIM, *repo).stdout)["tag"] == "wim-round1"
    assert hub.uploads() == first
    done = client(*WIM, *repo, "--schema", "unpaired")
    assert json.loads(done.stdout)["tag"] == "wim-round1.2"
    commits = list(hub.repos["dataset", "me/facts"].commits)
    assert hub.repos["dataset", "me/facts"].tags == {"wim-round1": commits[1], "wim-round1.2": commits[2]}


def test_what_an_earlier_publication_has_left_is_removed_and_what_is_not_ours_is_kept(
    hub: Hub, client: Client, tmp_path: Path
) -> None:
    assert client(*WIM, "--out", tmp_path / "both").returncode == 0
    repo = hub.repos["dataset", "me/facts"]
    tree = repo.commits[repo.head()]
    mine = {"notes.md": tree["stats.json"], "data/own.parquet": tree["stats.json"]}
    repo.commit(tree | mine)
    assert client("publish", "runs/wim/1", *WIM[3:], "--out", tmp_path / "one").returncode == 0
    now = hub.tree("me/facts")
    assert not [name for name in now if "wim-round0" in name]
    assert set(now) == set(contents(tmp_path / "one")) | set(mine) | {".gitattributes"}


def test_a_repository_of_somebody_else_is_not_overwritten(hub: Hub, client: Client, tmp_path: Path) -> None:
    repo = hub.repos["dataset", "me/facts"] = Repo(True)
    card = {"README.md": Blob(b"---\nlicense: mit\n---\n# Mine\n", False)}
    repo.commit(card | {"data/train-00000-of-00001.parquet": Blob(b"rows", True)})
    refused = client(*WIM, "--out", tmp_path / "dataset")
    assert refused.returncode == 1
    assert refused.stderr == (
        "wim: publish: me/facts was not written by `wim publish`: its README.md is of somebody else, and "
        "data/train-00000-of-00001.parquet would be replaced; take another repository\n"
    )
    assert len(repo.commits) == 1
    assert hub.uploads() == []
    repo.commit(card)  # as the Hub makes it, with a licence and nothing else
    assert client(*WIM, "--out", tmp_path / "dataset").returncode == 0
    assert hub.tree("me/facts")["README.md"] == (tmp_path / "dataset/README.md").read_bytes()


def test_it_loads_by_its_name_and_by_its_tag(client: Client, tmp_path: Path) -> None:
    assert client(*WIM, "--out", tmp_path / "dataset").returncode == 0
    code = """
import json, datasets
named = datasets.load_dataset("me/facts")
tagged = datasets.load_dataset("me/facts", "wim-round0", revision="wim-round1")
ratings = datasets.load_dataset("me/facts", "ratings")
print(json.dumps([{split: rows["pair_id"][:] for split, rows in named.items()},
                  {split: rows["pair_id"][:] for split, rows in tagged.items()},
                  {split: len(rows) for split, rows in ratings.items()}]))
"""
    done = client(code=code)
    assert done.returncode == 0, done.stderr
    named, tagged, ratings = json.loads(done.stdout)
    for found, run in ((named, "1"), (tagged, "0")):
        pairs = pl.read_parquet(f"{tmp_path}/dataset/data/wim-round{run}/*.parquet")
        assert sorted(found["train"] + found["test"]) == sorted(pairs["pair_id"])
    assert set(ratings) == {"train", "test"}
    stranger = client(code='import datasets; datasets.load_dataset("me/facts")', token=None)
    assert stranger.returncode != 0  # it is private


# Failures ------------------------------------------------------------------------------------------------------------

SEND = """
import sys
from pathlib import Path
from builder.errors import WimError
from builder.hub.push import push

folder = Path(sys.argv[1])
files = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
try:
    push(folder, files, "me/facts", "dataset", "wim-round1", public=False)
except WimError as error:
    sys.exit(f"wim: {error}")
"""


def arrived(hub: Hub, folder: Path) -> bool:
    """Whether the repository holds the folder, in one commit with one tag."""
    repo = hub.repos["dataset", "me/facts"]
    tree = hub.tree("me/facts")
    del tree[".gitattributes"]
    return tree == contents(folder) and len(repo.commits) == 2 and repo.tags == {"wim-round1": repo.head()}


def test_a_failed_upload_is_one_line_and_the_next_run_sends_only_the_rest(
    hub: Hub, client: Client, folder: Path
) -> None:
    hub.faults = [("PUT /lfs/", nothing)] * 2 + [("PUT /lfs/", status(507, "the disk is full"))] * 50
    failed = client(folder, code=SEND)
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("wim: publish: pushing to me/facts failed: ")
    assert "507" in failed.stderr
    before = set(hub.large)
    assert len(before) == 2
    assert hub.repos["dataset", "me/facts"].tags == {}
    hub.faults, hub.asked = [], []
    assert client(folder, code=SEND).returncode == 0
    assert hub.uploads()
    assert not before & set(hub.uploads())
    assert arrived(hub, folder)


def test_killed_in_the_middle_it_goes_on_with_the_rest(hub: Hub, client: Client, folder: Path, tmp_path: Path) -> None:
    held = threading.Event()

    def hold(handler: Handler) -> None:
        held.set()
        handler.rfile.read(1)  # until the client is gone
        raise ConnectionResetError

    hub.faults = [("PUT /lfs/", nothing)] + [("PUT /lfs/", hold)] * 50
    environment = os.environ | hub.environment(tmp_path / "home", TOKEN) | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", SEND, str(folder)], env=environment) as process:
        assert held.wait(60)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = set(hub.large)
    hub.faults, hub.asked = [], []
    assert client(folder, code=SEND).returncode == 0
    assert not before & set(hub.uploads())
    assert arrived(hub, folder)


def test_a_connection_that_is_reset_once_is_tried_again(hub: Hub, client: Client, folder: Path) -> None:
    hub.faults = [("PUT /lfs/", reset), ("POST .*/preupload/", status(503))]
    assert client(folder, code=SEND).returncode == 0
    assert hub.faults == []
    assert len(hub.uploads()) == len(set(hub.uploads())) + 1
    assert arrived(hub, folder)


@pytest.mark.parametrize("where", ["POST .*/commit/", "POST .*/tag/", "GET .*/refs", "POST /api/validate-yaml"])
@pytest.mark.parametrize("fault", [status(500), reset], ids=["500", "reset"])
def test_after_any_other_failure_the_next_run_uploads_nothing_twice(
    where: str, fault: Fault, hub: Hub, client: Client, folder: Path
) -> None:
    hub.faults = [(where, fault)]
    failed = client(folder, code=SEND)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert failed.stderr.startswith("wim: publish: pushing to me/facts failed: ")
    assert failed.stderr.endswith("; what has arrived is kept, the same command goes on from there\n")
    assert client(folder, code=SEND).returncode == 0
    assert len(hub.uploads()) == len(set(hub.uploads()))
    assert arrived(hub, folder)


# Who may ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "repo", "told"),
    [
        (None, "me/facts", "publish: there is no token of the Hub: `hf auth login`, or set HF_TOKEN"),
        ("hf_unknown", "me/facts", "publish: pushing to me/facts failed: the Hub does not accept the token (401)"),
        (READER, "me/facts", "publish: pushing to me/facts failed: the token may not do that (403)"),
        (TOKEN, "others/facts", "publish: pushing to others/facts failed: the token may not do that (403)"),
        (TOKEN, "facts", "publish: 'facts' is no name of a repository: OWNER/NAME is wanted"),
        (TOKEN, "me/a/b", "publish: 'me/a/b' is no name of a repository: OWNER/NAME is wanted"),
        (TOKEN, "me/--x", "publish: 'me/--x' is no name of a repository: OWNER/NAME is wanted"),
    ],
)
def test_what_cannot_be_pushed_is_one_clear_line(
    token: str | None, repo: str, told: str, hub: Hub, client: Client, trained: Path, tmp_path: Path
) -> None:
    done = client("publish", trained, "--adapter", "--repo", repo, "--push", "--out", tmp_path / "out", token=token)
    assert done.returncode == 1
    assert done.stderr.startswith(f"wim: {told}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert hub.uploads() == []
    assert hub.repos == {}


def test_a_repository_that_everybody_sees_wants_public(hub: Hub, client: Client, trained: Path, tmp_path: Path) -> None:
    one = ("publish", trained, "--adapter", "--repo", "me/facts", "--push", "--out", tmp_path / "out")
    done = client(*one, "--public", "--json")
    assert (done.returncode, json.loads(done.stdout)["private"]) == (0, False)
    assert not hub.repos["model", "me/facts"].private
    uploads = hub.uploads()
    refused = client(*one, "--set", "publish.license=mit")
    assert refused.returncode == 1
    assert refused.stderr == (
        "wim: publish: me/facts exists and everybody can see it: --public says that this is meant\n"
    )
    assert hub.uploads() == uploads


def test_without_push_the_hub_hears_nothing(hub: Hub, client: Client, tmp_path: Path) -> None:
    for more in ((), ("--dry-run",), ("--push-if-set",)):
        done = client("publish", "runs/wim/0", "--repo", "me/facts", "--out", tmp_path / "dataset", *more)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == (
            "nothing was sent: --push sends these files to me/facts (private if it is new)"
        )
    assert hub.asked == []


def test_the_pipeline_pushes_where_a_repository_is_set_to_one_of_the_arm(
    hub: Hub, client: Client, tmp_path: Path
) -> None:
    set_ = ("--set", "publish.repo=me/facts-{arm}", "--push-if-set", "--out", tmp_path / "dataset")
    assert client("publish", "runs/wim/0", *set_).returncode == 0
    assert client("publish", "runs/numerical/1", *set_).returncode == 0
    assert {repo for _, repo in hub.repos} == {"me/facts-wim", "me/facts-numerical"}
    assert "# facts-numerical\n" in hub.tree("me/facts-numerical")["README.md"].decode()
    several = client("publish", "runs/wim/1", "runs/numerical/1", *set_)
    assert several.stderr == ("wim: publish: me/facts-{arm}: the runs are of the arms numerical, wim, and not of one\n")


# Adapters ------------------------------------------------------------------------------------------------------------


def test_an_adapter_is_pushed_as_a_model(hub: Hub, client: Client, trained: Path) -> None:
    done = client("publish", trained, "--adapter", "--repo", "me/adapter", "--push", "--json")
    assert done.returncode == 0, done.stderr
    tree: dict[str, Any] = hub.tree("me/adapter", "model")
    assert set(tree) == {".gitattributes", "README.md", "adapter_config.json", "adapter_model.safetensors"}
    assert tree["adapter_model.safetensors"] == (trained / "policy/adapter_model.safetensors").read_bytes()
    assert hub.repos["model", "me/adapter"].private
    assert list(hub.repos["model", "me/adapter"].tags) == ["wim-round0"]
    assert tables.read_json(trained / "adapter/adapter_config.json") == json.loads(tree["adapter_config.json"])
