"""URLs among the arguments of a command: which there are, and where their copies lie."""

import re
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import UsageError

SCHEMES = ("s3", "gs", "hf")
COPIES = Path(".wim/remote")
LOCAL_ONLY = ("annotate", "compare", "train merge")
WITH = {
    "eval": ("policy",),
    "evaluate": ("policy",),
    "publish": ("policy", "adapter", "dataset"),
    "train": ("policy",),
    "winrate": ("policy",),
}
"""The folders in a run folder that a command reads or writes, besides the run's own files."""


@dataclass(frozen=True)
class Place:
    """A URL. ``key``: what follows its ``//``; ``folders``: those in it that belong to it, None: all."""

    scheme: str
    key: str
    folders: tuple[str, ...] | None = ()

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.key}"

    @property
    def copy(self) -> Path:
        return COPIES / self.scheme / self.key


def replaced(arguments: Namespace) -> list[Place]:
    """The URLs among the arguments, each of which is replaced by the path of its copy.

    Raises UsageError where the command takes none.
    """
    found: list[Place] = []

    def path(value: Any, name: str) -> Any:
        place = _place(value, name, arguments)
        if place is None:
            return value
        found.append(place)
        return place.copy

    for name, value in vars(arguments).items():
        if name != "words":
            listed = isinstance(value, list)
            setattr(arguments, name, [path(each, name) for each in value] if listed else path(value, name))
    if found:
        _check(arguments, found)
        arguments.words = [_word(word) for word in arguments.words]
    return list({place.url: place for place in found}.values())


def _place(value: Any, name: str, arguments: Namespace) -> Place | None:
    """A path knows a URL by its first part: it has made one slash of two."""
    named = isinstance(value, Path) or (arguments.name in LOCAL_ONLY and isinstance(value, str))
    scheme, *parts = (Path(value).parts if named else ()) or ("",)
    if scheme[:-1] not in SCHEMES or not scheme.endswith(":"):
        return None
    if not parts or ".." in parts:
        raise UsageError(f"{scheme}//{'/'.join(parts)}: names no folder; a URL is {scheme}//BUCKET/FOLDER")
    whole = name in ("policy", "folder") or (arguments.name, name) == ("publish", "out")
    return Place(scheme[:-1], "/".join(parts), None if whole else WITH.get(arguments.name, ()))


def _check(arguments: Namespace, found: list[Place]) -> None:
    name = f"{arguments.name} {getattr(arguments, 'method', '')}".strip()
    if name in LOCAL_ONLY:
        raise UsageError(f"{found[0].url}: wim {name} takes folders of this machine only")
    if arguments.name == "publish" and len(arguments.runs) > 1 and not arguments.out:
        raise UsageError(f"{found[0].url}: several runs at URLs need --out FOLDER")


def _word(word: str) -> str:
    return re.sub(rf"^(--[a-z]+=)?({'|'.join(SCHEMES)})://", rf"\g<1>{COPIES}/\g<2>/", word)


def named(text: str) -> str:
    """The text with URLs for the paths of copies; columns of a table stay where they are."""

    def url(found: re.Match[str]) -> str:
        start = f"{found['scheme']}://"
        gap = " " * (len(found["start"]) - len(start)) if found["gap"] else ""
        return start + found["rest"] + gap + found["gap"]

    start = rf"(?P<start>({re.escape(str(Path.cwd()))}/)?{re.escape(str(COPIES))}/(?P<scheme>{'|'.join(SCHEMES)})/)"
    return re.sub(start + r"(?P<rest>[^\s\"']*)(?P<gap>(  +)?)", url, text)
