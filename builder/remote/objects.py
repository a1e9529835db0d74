"""What lies at a URL, by fsspec. Each object appears whole or not at all: a PUT and a completed upload are atomic."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder import tables
from builder.errors import StorageError
from builder.remote.locations import Place

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface-hub"}
VERSIONS = ("ETag", "generation", "blob_id")
"""What the services call that which changes whenever an object's content does."""


@dataclass(frozen=True)
class Object:
    """``size`` in bytes."""

    version: str
    size: int


class Objects:
    """Those of a place, by their keys: bucket and name. Errors are of many kinds: see ``told``."""

    def __init__(self, place: Place) -> None:
        import fsspec

        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # each try that fails, with a traceback
        self.place = place
        self.files = fsspec.filesystem(place.scheme, skip_instance_cache=True)

    def listed(self) -> dict[str, Object]:
        """The file, or the files of the folder, which need not exist. Raises FileNotFoundError for a bucket."""
        key = self.place.key
        found = self.one(key)
        if found:
            return found
        try:
            listed = self.files.ls(key, detail=True)
        except FileNotFoundError:
            self._check_root()
            return {}
        for folder in self.place.folders if self.place.folders is not None else [""]:
            with contextlib.suppress(FileNotFoundError):
                listed += self.files.find(f"{key}/{folder}".rstrip("/"), detail=True).values()
        return {about["name"]: _object(about) for about in listed if _counts(about, key)}

    def _check_root(self) -> None:
        if not self.files.exists(self.place.root):
            raise FileNotFoundError(f"there is no {self.place.root}, or these credentials may not see it")

    def one(self, key: str) -> dict[str, Object]:
        """The object as it is now, by its key; empty if there is none."""
        self.files.invalidate_cache()
        try:
            about = self.files.info(key)
        except FileNotFoundError:
            return {}
        return {key: _object(about)} if about["type"] == "file" else {}

    def get(self, key: str, file: Path) -> None:
        self.files.get_file(key, str(file))

    def put(self, key: str, file: Path, before: str | None) -> None:
        """Write the object over the version ``before`` only (None: only if there is none), where the service can."""
        with self._expecting(before):
            self.files.put_file(str(file), key, mode="overwrite" if before else "create")

    @contextlib.contextmanager
    def _expecting(self, version: str | None) -> Iterator[None]:
        """S3 refuses a write over any other version; s3fs hands the wish on to the requests that know it."""
        if self.place.scheme == "s3":
            self.files.s3_additional_kwargs = {"IfMatch": version} if version else {}
        try:
            yield
        finally:
            self.files.s3_additional_kwargs = {}

    def remove(self, key: str) -> None:
        self.files.rm_file(key)


@contextlib.contextmanager
def told(place: Place, kept: str = "") -> Iterator[None]:
    """Errors of the storage as one clear line that names the URL, and ends in what is ``kept``."""
    try:
        yield
    except StorageError:
        raise
    except ImportError as error:
        package = PACKAGES[place.scheme]
        raise StorageError(f"{place.url}: needs a package that is not installed: pip install {package}") from error
    except PermissionError as error:
        what = "credentials are refused, or may not do this"
        raise StorageError(f"{place.url}: {what}: {tables.first_line(error)}{kept}") from error
    except Exception as error:  # each library has errors of its own
        raise StorageError(f"{place.url}: {tables.first_line(error)}{kept}") from error


def _object(about: dict[str, Any]) -> Object:
    version = next((about[name] for name in VERSIONS if about.get(name)), None)
    if version is None:  # what has changed could not be seen
        raise StorageError(f"{about['name']}: the storage says no version of it")
    return Object(str(version), int(about["size"]))


def _counts(about: dict[str, Any], folder: str) -> bool:
    """No folder, nothing hidden, and no empty object that some tools put in a folder's place."""
    own = about["name"].removeprefix(f"{folder}/")
    return about["type"] == "file" and all(part and not part.startswith(".") for part in own.split("/"))
