"""Run folders at s3://, gs:// and hf://: a command works on a copy, and what it has made is sent when it is done.

Before the command the copy is made to be what is there: what a killed or failed command left in it goes. After it,
what it changed is sent in the order in which it was made, so that a table never comes before what it was made from.
Each object appears whole or not at all: a PUT, a completed multipart upload and a commit to the Hub are atomic.
Nothing is sent over what somebody else has changed since.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from builder import rows, tables
from builder.errors import StorageError
from builder.locations import COPIES, Place

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface-hub"}
SHARED = ("prompts.parquet", "heldout.parquet")
"""What a run takes from the folders above it: ``tables.find``."""
KNOWN = ".known"
"""Under it a file for each object: what it was when it and its copy were last equal."""


@dataclass(frozen=True)
class Object:
    """``version``: changes whenever the content does (an ETag, say). ``size`` in bytes."""

    version: str
    size: int


@contextlib.contextmanager
def copied(places: Sequence[Place]) -> Iterator[None]:
    """While the block runs, the copies are there; if it ends without an error, what changed is sent.

    Raises StorageError, which names the URL, if a place cannot be read or written, or was changed by others meanwhile.
    """
    with contextlib.ExitStack() as held:
        for place in sorted(places, key=lambda place: place.url, reverse=True):  # in one order: nobody waits in a ring
            held.enter_context(rows.reading(COPIES / place.scheme))  # `wim clean` leaves it alone
            held.enter_context(rows.lock(_known(place.scheme, place.key)))
        stores = [Store(place) for place in places]
        for store in stores:
            store.fetch(held_too=places)
        yield
        changes = [store.changes() for store in stores]
        for store, changed in zip(stores, changes, strict=True):
            store.send(changed)


class Store:
    """What lies at a URL, and its copy."""

    def __init__(self, place: Place) -> None:
        self.place = place
        with self._told():
            import fsspec

            self.files = fsspec.filesystem(place.scheme, skip_instance_cache=True)

    # Before the command ------------------------------------------------------------------------------------------

    def fetch(self, held_too: Sequence[Place]) -> None:
        """Make the copy what is there."""
        with self._told():
            there = self._listed()
            self._mirror(there, self._here())
            if self.place.folders is not None:
                self._fetch_shared(there, {place.key for place in held_too})

    def _fetch_shared(self, there: dict[str, Object], held: set[str]) -> None:
        """Prompts of the nearest folder above that has them."""
        for name in SHARED:
            key = f"{self.place.key}/{name}"
            for parent in list(PurePosixPath(self.place.key).parents)[:-1]:
                if key in there:
                    break
                key = str(parent / name)
                there |= self._file(key)
                if str(parent) not in held:
                    with rows.lock(_known(self.place.scheme, str(parent))):
                        self._mirror({k: o for k, o in there.items() if k == key}, {key})

    def _mirror(self, there: dict[str, Object], here: set[str]) -> None:
        for key in here - there.keys():
            self._copy(key).unlink(missing_ok=True)
            self._note(key, None)
        for key, found in there.items():
            if self._unchanged(key) != found.version:
                self._load(key, found)

    def _load(self, key: str, found: Object) -> None:
        file = self._copy(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = tables.temporary_of(file)
        try:
            self.files.get_file(key, str(temporary))
            if temporary.stat().st_size != found.size:
                raise StorageError(f"{self._url(key)}: changed while it was read; run the same command again")
            tables.publish_file(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)
        self._note(key, found.version)

    # After it ----------------------------------------------------------------------------------------------------

    def changes(self) -> list[str]:
        """Keys of what the command changed, in the order it did, then of what it removed.

        Raises StorageError if somebody else has changed one of them meanwhile.
        """
        changed = [key for key in self._here() if self._unchanged(key) is None]
        if not changed:
            return []
        with self._told():
            there = self._listed()
        for key in changed:
            found = there.get(key)
            if (found.version if found else None) != self._version(key):
                raise self._conflict(key)
        gone = [key for key in changed if not self._copy(key).is_file()]
        made = [key for key in changed if key not in gone]
        return sorted(made, key=lambda key: self._copy(key).stat().st_mtime_ns) + sorted(gone)

    def send(self, changed: Sequence[str]) -> None:
        """Send what was changed and remove what was removed, and say how much it was."""
        size = 0
        for key in changed:
            size += self._send(key) if self._copy(key).is_file() else self._remove(key)
        if changed:
            print(f"{self.place.url}: {len(changed)} files sent, {size / 1e6:,.1f} MB", file=sys.stderr)

    def _send(self, key: str) -> int:
        """Bytes sent."""
        file, before = self._copy(key), self._version(key)
        with self._told(key):
            try:
                with self._expecting(before):
                    self.files.put_file(str(file), key, mode="overwrite" if before else "create")
            except OSError as error:
                now = self._file(key).get(key)
                if (now.version if now else None) != before:
                    raise self._conflict(key) from error
                raise
            size = file.stat().st_size
            sent = self._file(key).get(key)
            if sent and sent.size == size:
                self._note(key, sent.version)
        return size

    @contextlib.contextmanager
    def _expecting(self, version: str | None) -> Iterator[None]:
        """S3 refuses a write over any other version; s3fs hands the wish on to the requests that know it."""
        if self.place.scheme == "s3":
            self.files.s3_additional_kwargs = {"IfMatch": version} if version else {}
        try:
            yield
        finally:
            self.files.s3_additional_kwargs = {}

    def _remove(self, key: str) -> int:
        with self._told(key):
            self.files.rm_file(key)
        self._note(key, None)
        return 0

    def _conflict(self, key: str) -> StorageError:
        what = "was changed by somebody else since this command read it, and is left as it is"
        return StorageError(f"{self._url(key)}: {what}; run the same command again")

    # What is there -----------------------------------------------------------------------------------------------

    def _listed(self) -> dict[str, Object]:
        """By key: the file, or the files of the folder, which need not exist. Raises FileNotFoundError for a bucket."""
        self.files.invalidate_cache()
        key, found = self.place.key, self._file(self.place.key)
        if found:
            return found
        try:
            listed = self.files.ls(key, detail=True)
        except FileNotFoundError:
            self._check_bucket()
            return {}
        for folder in self.place.folders if self.place.folders is not None else [""]:
            with contextlib.suppress(FileNotFoundError):
                listed += self.files.find(f"{key}/{folder}".rstrip("/"), detail=True).values()
        return {about["name"]: _object(about) for about in listed if _counts(about, key)}

    def _check_bucket(self) -> None:
        parts = self.place.key.split("/")
        bucket = "/".join(parts[: 1 if self.place.scheme != "hf" else 3 if parts[0] in ("datasets", "spaces") else 2])
        if not self.files.exists(bucket):
            raise FileNotFoundError(f"there is no {bucket}, or it is not shown to you")

    def _file(self, key: str) -> dict[str, Object]:
        self.files.invalidate_cache()
        try:
            about = self.files.info(key)
        except FileNotFoundError:
            return {}
        return {key: _object(about)} if about["type"] == "file" else {}

    # What is here ------------------------------------------------------------------------------------------------

    def _here(self) -> set[str]:
        """Keys of the copies that there are, or were."""
        copies, known = COPIES / self.place.scheme, COPIES / self.place.scheme / KNOWN
        keys = {str(file.relative_to(copies)) for file in self._of(copies)}
        return keys | {str(file.relative_to(known)).removesuffix(".json") for file in self._of(known)}

    def _of(self, root: Path) -> Iterator[Path]:
        folder, folders = root / self.place.key, self.place.folders
        yield from (file for file in (folder, Path(f"{folder}.json")) if file.is_file())
        within = folder.rglob("*") if folders is None else folder.glob("*")
        yield from (file for file in within if _ours(file))
        yield from (file for name in folders or () for file in (folder / name).rglob("*") if _ours(file))

    def _copy(self, key: str) -> Path:
        return COPIES / self.place.scheme / key

    def _url(self, key: str) -> str:
        return f"{self.place.scheme}://{key}"

    def _version(self, key: str) -> str | None:
        """Of the object, when its copy was last equal to it."""
        said = self._said(key)
        return str(said["version"]) if said else None

    def _unchanged(self, key: str) -> str | None:
        """The version of the object that the copy is equal to; None if it is equal to none."""
        file, said = self._copy(key), self._said(key)
        return str(said["version"]) if said and file.is_file() and said["file"] == _stamp(file) else None

    def _said(self, key: str) -> dict[str, Any] | None:
        with contextlib.suppress(OSError, ValueError):
            said: dict[str, Any] = json.loads(self._note_of(key).read_text())
            return said
        return None

    def _note_of(self, key: str) -> Path:
        known = _known(self.place.scheme, key)
        return known.with_name(f"{known.name}.json")

    def _note(self, key: str, version: str | None) -> None:
        if version is None:
            self._note_of(key).unlink(missing_ok=True)
        else:
            tables.write_json(self._note_of(key), {"version": version, "file": _stamp(self._copy(key))})

    @contextlib.contextmanager
    def _told(self, key: str = "") -> Iterator[None]:
        """Errors of the storage as one clear line that names the URL."""
        url = self._url(key or self.place.key)
        try:
            yield
        except StorageError:
            raise
        except ImportError as error:
            package = PACKAGES[self.place.scheme]
            raise StorageError(f"{url}: needs a package that is not installed: pip install {package}") from error
        except Exception as error:  # each library has errors of its own
            raise StorageError(f"{url}: {tables.first_line(error)}") from error


def _known(scheme: str, key: str) -> Path:
    return COPIES / scheme / KNOWN / key


def _object(about: dict[str, Any]) -> Object:
    version = about.get("ETag") or about.get("generation") or about.get("blob_id")
    return Object(str(version), int(about["size"]))


def _counts(about: dict[str, Any], folder: str) -> bool:
    """No folder, and no empty object that some tools put in a folder's place."""
    own = about["name"].removeprefix(f"{folder}/")
    return bool(about["type"] == "file" and own and not own.endswith("/") and ".." not in own.split("/"))


def _ours(file: Path) -> bool:
    return file.is_file() and not file.name.startswith(".") and file.name not in (rows.LOCK, rows.READERS)


def _stamp(file: Path) -> list[int]:
    about = file.stat()
    return [about.st_size, about.st_mtime_ns]
