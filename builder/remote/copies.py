"""The copy of a place under .wim/remote/: its files, and what is known of the objects that they are copies of."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from builder import tables
from builder.remote.locations import COPIES, Place

KNOWN = ".known"
"""Under it a file for each object: its version, and what its copy was, when they were last equal."""
UNSENT = ".unsent"
"""In the folder of the place under KNOWN: what a command made that has ended well, until all of it is sent."""


class Copies:
    """Files by the keys of their objects."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.files = COPIES / place.scheme
        self.known = self.files / KNOWN
        self._unsent = self.known / place.key / UNSENT

    def file(self, key: str) -> Path:
        return self.files / key

    def keys(self) -> set[str]:
        """Of the files that are here, or were when they were last equal to their objects."""
        return {*self._below(self.files, ""), *self._below(self.known, ".json")}

    def _below(self, root: Path, suffix: str) -> Iterator[str]:
        folder, folders = root / self.place.key, self.place.folders
        found = [folder.with_name(folder.name + suffix)]
        found += folder.rglob("*") if folders is None else folder.glob("*")
        found += [file for name in folders or () for file in (folder / name).rglob("*")]
        for file in found:
            key = str(file.relative_to(root))
            if file.is_file() and key.endswith(suffix) and self.belongs(key.removesuffix(suffix)):
                yield key.removesuffix(suffix)

    def belongs(self, key: str) -> bool:
        """Not what is hidden in the place, such as a file that is being written."""
        return not any(part.startswith(".") for part in key.removeprefix(self.place.key).split("/"))

    def is_changed(self, key: str) -> bool:
        """Whether the file is no longer what it was when it was last equal to its object."""
        said, file = self._said(key), self.file(key)
        if said is None or not file.is_file():
            return file.is_file() or said is not None
        return bool(said["file"] != _stamp(file))

    def version(self, key: str) -> str | None:
        """Of the object, when it and the file were last equal; None if there was none."""
        said = self._said(key)
        return str(said["version"]) if said else None

    def _said(self, key: str) -> dict[str, Any] | None:
        with contextlib.suppress(OSError, ValueError):
            said: dict[str, Any] = json.loads(self._note_of(key).read_text())
            return said
        return None

    def _note_of(self, key: str) -> Path:
        return self.known / f"{key}.json"

    def note(self, key: str, version: str | None) -> None:
        """The file is now equal to that version of the object; None: neither of them is there."""
        if version is None:
            self._note_of(key).unlink(missing_ok=True)
        else:
            tables.write_json(self._note_of(key), {"version": version, "file": _stamp(self.file(key))})

    def remove(self, key: str) -> None:
        self.file(key).unlink(missing_ok=True)
        self.note(key, None)

    def changed(self) -> list[str]:
        """Keys of what is not equal to its object: first the files in the order in which they were written."""
        keys = sorted(key for key in self.keys() if self.is_changed(key))
        made = [key for key in keys if self.file(key).is_file()]
        made.sort(key=lambda key: self.file(key).stat().st_mtime_ns)
        return made + [key for key in keys if not self.file(key).is_file()]

    def unsent(self) -> list[str]:
        """What ``set_unsent`` has kept, as far as it is still changed."""
        if not self._unsent.is_file():
            return []
        return [key for key in tables.read_json(self._unsent) if self.is_changed(key)]

    def set_unsent(self, keys: Sequence[str]) -> None:
        if keys:
            tables.write_json(self._unsent, list(keys))
        else:
            self._unsent.unlink(missing_ok=True)


def _stamp(file: Path) -> list[int]:
    about = file.stat()
    return [about.st_size, about.st_mtime_ns]
