"""A small Hugging Face Hub on loopback: repositories, commits, large files, tags; it fails where it is told to.

It answers the requests that huggingface_hub 2 and datasets 5 make without xet. A commit keeps a whole tree.
"""

import base64
import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import loopback
import yaml

LARGE = (".parquet", ".png", ".safetensors")


@dataclass(frozen=True)
class Blob:
    """A file's content; ``large``: it is kept apart, known by its SHA-256."""

    content: bytes
    large: bool

    @property
    def oid(self) -> str:
        if self.large:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


Tree = dict[str, Blob]


@dataclass
class Repo:
    """``commits``: trees by their id, in order."""

    private: bool
    commits: dict[str, Tree] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def head(self) -> str:
        return list(self.commits)[-1]

    def commit(self, tree: Tree) -> str:
        named = json.dumps([len(self.commits), {path: blob.oid for path, blob in tree.items()}])
        oid = hashlib.sha1(named.encode()).hexdigest()
        self.commits[oid] = tree
        return oid

    def at(self, revision: str) -> str | None:
        """The commit that a revision names."""
        found = {"main": self.head(), "refs/heads/main": self.head(), **self.tags}.get(revision, revision)
        return found if found in self.commits else None


@dataclass(frozen=True)
class Asked:
    """A request; ``token``: that of its Authorization header."""

    method: str
    path: str
    token: str | None
    body: bytes


class Fail(Exception):
    """An error that the Hub answers with."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


Fault = Callable[["Handler"], None]
Route = Callable[..., Any]


def status(number: int, message: str = "told to fail") -> Fault:
    """A fault: an answer with an error."""

    def fault(handler: "Handler") -> None:
        del handler
        raise Fail(number, message)

    return fault


def nothing(handler: "Handler") -> None:
    """No fault: of several requests that match, this one is let through."""
    del handler


def reset(handler: "Handler") -> None:
    """A fault: the connection ends without an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    raise ConnectionResetError


class Hub(loopback.Server):
    """``with Hub({"hf_w": {"me"}}) as hub``: serves at ``hub.url`` until the block ends.

    ``writers``: for each token the namespaces that it may write to; all tokens may read all repositories. The next
    request whose method and path match a pattern of ``faults`` (``"PUT /lfs"``) takes that fault, once.
    """

    def __init__(self, writers: Mapping[str, set[str]]) -> None:
        super().__init__(Handler)
        self.writers = writers
        self.repos: dict[tuple[str, str], Repo] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.faults: list[tuple[str, Fault]] = []
        self.lock = threading.RLock()

    def environment(self, folder: Path, token: str | None = None) -> dict[str, str]:
        """For a client with a home of its own in ``folder``."""
        own = {"HF_HOME": str(folder), "HF_ENDPOINT": self.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        return own | {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_TOKEN": token or ""}

    def create_repo(self, kind: str, repo: str, private: bool = True) -> None:
        made = self.repos[kind, repo] = Repo(private)
        made.commit({".gitattributes": Blob(b"*.parquet filter=lfs\n", False)})

    def uploads(self) -> list[str]:
        """The ids of the large files that came in whole or in part, in order."""
        return [asked.path.split("/")[-1] for asked in self.asked if asked.method == "PUT"]

    def tree(self, repo: str, kind: str = "dataset", revision: str = "main") -> dict[str, bytes]:
        """Files of a repository."""
        found = self.repos[kind, repo]
        oid = found.at(revision)
        assert oid is not None
        return {path: blob.content for path, blob in found.commits[oid].items()}

    def fault(self, asked: Asked) -> Fault | None:
        with self.lock:
            self.asked.append(asked)
            for i, (pattern, fault) in enumerate(self.faults):
                if re.match(pattern, f"{asked.method} {asked.path}"):
                    del self.faults[i]
                    return fault
        return None


def card_data(tree: Tree) -> Any:
    """The YAML of the card; None where there is none."""
    card = tree.get("README.md", Blob(b"", False)).content.decode()
    found = re.match(r"---\n(.*?\n)---\n", card, re.DOTALL)
    return yaml.safe_load(found[1]) if found else None


NAME = r"(?P<repo>[\w.-]+/[\w.-]+)"
API = rf"/api/(?P<kind>dataset|model)s/{NAME}"
WEB = rf"/(?:(?P<kind>dataset)s/)?{NAME}"


class Handler(loopback.Handler):
    """One request, by the routes below."""

    server: Hub

    def handle_one(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        url = urlsplit(self.path)
        bearer = self.headers.get("Authorization", "")
        token = bearer.removeprefix("Bearer ") or None
        self.asked = Asked(self.command, unquote(url.path), token, self.rfile.read(length))
        self.query = parse_qs(url.query)
        try:
            fault = self.server.fault(self.asked)
            if fault:
                fault(self)
            with self.server.lock:
                self.route()
        except Fail as error:
            headers = {"X-Error-Message": error.message} | ({"X-Error-Code": error.code} if error.code else {})
            self.give({"error": error.message}, error.status, headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = handle_one

    def route(self) -> None:
        for method, pattern, function in ROUTES:
            found = re.fullmatch(pattern, self.asked.path)
            if found and self.command in method:
                function(self, **found.groupdict())
                return
        raise Fail(404, f"no such page: {self.command} {self.asked.path}")

    def json(self) -> Any:
        return json.loads(self.asked.body)

    def give(self, body: Any, number: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """An answer; bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(number)
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    # Who may do what -------------------------------------------------------------------------------------------------

    def repo_of(self, kind: str | None, repo: str) -> Repo:
        found = self.server.repos.get((kind or "model", repo))
        known = self.asked.token in self.server.writers
        if found is None or (found.private and not known):
            raise Fail(404 if known else 401, "Repository not found", "RepoNotFound")
        return found

    def check_writer(self, repo: str) -> None:
        if self.asked.token not in self.server.writers:
            raise Fail(401, "Invalid credentials in Authorization header")
        if repo.split("/")[0] not in self.server.writers[self.asked.token]:
            raise Fail(403, f"you don't have the rights to write to {repo}")

    def tree_of(self, kind: str | None, repo: str, revision: str) -> tuple[str, Tree]:
        found = self.repo_of(kind, repo)
        oid = found.at(unquote(revision))
        if oid is None:
            raise Fail(404, "Invalid rev id", "RevisionNotFound")
        return oid, found.commits[oid]

    # Repositories ----------------------------------------------------------------------------------------------------

    def create(self) -> None:
        said = self.json()
        kind, repo = said.get("type", "model"), f"{said['organization']}/{said['name']}"
        self.check_writer(repo)
        url = f"{self.server.url}/{'datasets/' if kind == 'dataset' else ''}{repo}"
        if (kind, repo) in self.server.repos:
            self.give({"error": "You already created this repo", "url": url}, 409)
            return
        self.server.create_repo(kind, repo, said.get("visibility") == "private")
        self.give({"url": url})

    def validate(self) -> None:
        said = self.json()
        if not said["content"].startswith("---\n"):
            self.give({"errors": [{"message": "no YAML"}], "warnings": []}, 400)
            return
        self.give({"errors": [], "warnings": []})

    def info(self, kind: str, repo: str, revision: str = "main") -> None:
        oid, tree = self.tree_of(kind, repo, revision)
        siblings = [{"rfilename": path} for path in tree]
        about = {"_id": "0", "id": repo, "author": repo.split("/")[0], "sha": oid, "siblings": siblings, "tags": []}
        about |= {
            "cardData": card_data(tree),
            "private": self.repo_of(kind, repo).private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
        }
        self.give(about | {"likes": 0, "lastModified": "2026-01-01T00:00:00.000Z"})

    def refs(self, kind: str, repo: str) -> None:
        found = self.repo_of(kind, repo)
        branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": found.head()}
        tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": oid} for tag, oid in found.tags.items()]
        self.give({"branches": [branch], "converts": [], "tags": tags})

    def tag(self, kind: str, repo: str, revision: str) -> None:
        self.check_writer(repo)
        oid, _ = self.tree_of(kind, repo, revision)
        tags, name = self.repo_of(kind, repo).tags, self.json()["tag"]
        if name in tags:
            raise Fail(409, "Tag exists already")
        tags[name] = oid
        self.give({})

    # Reading ---------------------------------------------------------------------------------------------------------

    def list_tree(self, kind: str, repo: str, revision: str, path: str | None = None) -> None:
        _, tree = self.tree_of(kind, repo, revision)
        below = f"{path}/" if path else ""
        found = [self.entry(name, blob) for name, blob in tree.items() if name.startswith(below)]
        folders = {"/".join(name.split("/")[:i]) for name in tree for i in range(1, name.count("/") + 1)}
        found += [
            {"type": "directory", "path": f, "oid": "0" * 40, "size": 0} for f in sorted(folders) if f.startswith(below)
        ]
        if self.query.get("recursive", ["false"])[0].lower() not in ("true", "1"):
            found = [each for each in found if "/" not in each["path"].removeprefix(below)]
        if path and not found:
            raise Fail(404, "Entry not found", "EntryNotFound")
        self.give(found)

    def paths(self, kind: str, repo: str, revision: str) -> None:
        _, tree = self.tree_of(kind, repo, revision)
        asked = self.asked.body.decode()
        wanted = json.loads(asked)["paths"] if asked.startswith("{") else parse_qs(asked).get("paths", [])
        files = [self.entry(name, tree[name]) for name in wanted if name in tree]
        folders = [name for name in wanted if any(other.startswith(f"{name}/") for other in tree)]
        self.give(files + [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in folders])

    def entry(self, path: str, blob: Blob) -> dict[str, Any]:
        size = len(blob.content)
        large = {"lfs": {"oid": blob.oid, "size": size, "pointerSize": 130}} if blob.large else {}
        return {"type": "file", "path": path, "oid": blob.oid[:40], "size": size, **large}

    def resolve(self, repo: str, revision: str, path: str, kind: str | None = None) -> None:
        oid, tree = self.tree_of(kind, repo, revision)
        if path not in tree:
            raise Fail(404, "Entry not found", "EntryNotFound")
        blob, headers = tree[path], {"X-Repo-Commit": oid, "ETag": f'"{tree[path].oid}"', "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            self.give(blob.content, headers=headers)
            return
        start, end = int(asked[1]), min(int(asked[2] or len(blob.content)), len(blob.content) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(blob.content)}"
        self.give(blob.content[start : end + 1], 206, headers)

    # Writing ---------------------------------------------------------------------------------------------------------

    def preupload(self, kind: str, repo: str, revision: str) -> None:
        self.check_writer(repo)
        _, tree = self.tree_of(kind, repo, revision)
        self.give(
            {
                "files": [
                    {"path": name, "uploadMode": "lfs" if name.endswith(LARGE) else "regular", "shouldIgnore": False}
                    | ({"oid": tree[name].oid} if name in tree else {})
                    for name in (file["path"] for file in self.json()["files"])
                ]
            }
        )

    def batch(self, repo: str, kind: str | None = None) -> None:
        """What of these is not here yet is to be sent to /lfs, which asks for no token."""
        self.repo_of(kind, repo)
        self.check_writer(repo)
        objects = self.json()["objects"]
        for each in objects:
            if each["oid"] not in self.server.large:
                where = f"{self.server.url}/lfs/{each['oid']}"
                each["actions"] = {"upload": {"href": where}, "verify": {"href": f"{self.server.url}/verify"}}
        self.give({"transfer": "basic", "objects": objects})

    def receive(self, oid: str) -> None:
        if hashlib.sha256(self.asked.body).hexdigest() != oid:
            raise Fail(400, "the content is not what its id says")
        self.server.large[oid] = self.asked.body
        self.give({})

    def verify(self) -> None:
        said = self.json()
        if len(self.server.large[said["oid"]]) != said["size"]:
            raise Fail(400, "the size is not what was said")
        self.give({})

    def commit(self, kind: str, repo: str, revision: str) -> None:
        self.check_writer(repo)
        _, tree = self.tree_of(kind, repo, revision)
        tree = dict(tree)
        for line in self.asked.body.splitlines():
            said = json.loads(line)
            key, value = said["key"], said["value"]
            if key == "header" and value.get("parentCommit") not in (None, self.repo_of(kind, repo).head()):
                raise Fail(412, "A commit has happened since. Please refresh and try again.")
            if key == "file":
                tree[value["path"]] = Blob(base64.b64decode(value["content"]), False)
            elif key == "lfsFile":
                if value["oid"] not in self.server.large:
                    raise Fail(400, f"{value['path']} was never uploaded")
                tree[value["path"]] = Blob(self.server.large[value["oid"]], True)
            elif key == "deletedFile":
                del tree[value["path"]]
        oid = self.repo_of(kind, repo).commit(tree)
        self.give({"commitUrl": f"{self.server.url}/{repo}/commit/{oid}", "commitOid": oid, "success": True})


REVISION = r"(?P<revision>[^/]+|refs/heads/[^/]+)"
ROUTES: list[tuple[tuple[str, ...], str, Route]] = [
    (("POST",), "/api/repos/create", Handler.create),
    (("POST",), "/api/validate-yaml", Handler.validate),
    (("GET",), API, Handler.info),
    (("GET",), rf"{API}/revision/{REVISION}", Handler.info),
    (("GET",), rf"{API}/refs", Handler.refs),
    (("POST",), rf"{API}/tag/{REVISION}", Handler.tag),
    (("GET",), rf"{API}/tree/{REVISION}(?:/(?P<path>.+))?", Handler.list_tree),
    (("POST",), rf"{API}/paths-info/{REVISION}", Handler.paths),
    (("POST",), rf"{API}/preupload/{REVISION}", Handler.preupload),
    (("POST",), rf"{API}/commit/{REVISION}", Handler.commit),
    (("POST",), rf"{WEB}\.git/info/lfs/objects/batch", Handler.batch),
    (("PUT",), "/lfs/(?P<oid>[0-9a-f]{64})", Handler.receive),
    (("POST",), "/verify", Handler.verify),
    (("GET", "HEAD"), rf"{WEB}/resolve/{REVISION}/(?P<path>.+)", Handler.resolve),
]
