"""URLs among the arguments of a command: which there are, and where their copies lie."""

import re
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import UsageError

FORMS = {
    "s3": "s3://BUCKET/FOLDER",
    "gs": "gs://BUCKET/FOLDER",
    "hf": "hf://datasets/OWNER/NAME/FOLDER, or for a repository of models hf://OWNER/NAME/FOLDER",
}
KINDS = ("models", "spaces", "kernels", "buckets")
"""What the Hub has besides; hf://models/OWNER/NAME is listed under another name than its own."""
COPIES = Path(".wim/remote")
LOCAL_ONLY = ("annotate", "compare", "train merge")
RUNS = ("run", "runs", "a", "b")
"""Arguments that name run folders: their prompts may lie above them."""
WITH = {
    "eval": ("policy",),
    "evaluate": ("policy",),
    "refine": ("refined",),
    "publish": ("policy", "adapter", "dataset"),
    "train": ("policy", "tensorboard"),
    "winrate": ("policy",),
}
"""The folders in a run folder that a command reads or writes, besides the run's own files."""


@dataclass(frozen=True)
class Place:
    """A URL. ``key``: what follows its ``//``; ``folders``: those in it that belong to it, None: all.

    ``inherits``: prompts of the folders above belong to it as well.
    """

    scheme: str
    key: str
    folders: tuple[str, ...] | None = ()
    inherits: bool = False

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.key}"

    @property
    def copy(self) -> Path:
        return COPIES / self.scheme / self.key

    @property
    def root(self) -> str:
        """Its bucket or repository."""
        return "/".join(self.key.split("/")[: self._depth()])

    def _depth(self) -> int:
        return 1 if self.scheme != "hf" else 3 if self.key.startswith("datasets/") else 2

    def is_within(self) -> bool:
        """Whether it names all of a bucket or repository."""
        parts = self.key.split("/")
        return ".." not in parts and parts[0] not in ("", *self._other()) and len(parts) >= self._depth()

    def _other(self) -> tuple[str, ...]:
        return KINDS if self.scheme == "hf" else ()

    def above(self) -> Iterator[str]:
        """The keys of the folders that it lies in, the nearest first."""
        key = self.key
        while key != self.root:
            key = key.rpartition("/")[0]
            yield key


def replaced(arguments: Namespace) -> list[Place]:
    """The URLs among the arguments, each of which is replaced by the path of its copy.

    Raises UsageError for a URL that names no folder, or where the command takes none.
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
        found += _beside(arguments, found)
    return list({place.url: place for place in found}.values())


def _place(value: Any, name: str, arguments: Namespace) -> Place | None:
    """A path knows a URL by its first part: it has made one slash of two."""
    named = isinstance(value, Path) or (arguments.name in LOCAL_ONLY and isinstance(value, str))
    start, *parts = (Path(value).parts if named else ()) or ("",)
    scheme = start.removesuffix(":")
    if scheme not in FORMS or start == scheme:
        return None
    whole = name in ("policy", "folder") or (arguments.name, name) == ("publish", "out")
    place = Place(scheme, "/".join(parts), None if whole else WITH.get(arguments.name, ()), name in RUNS)
    if not place.is_within():
        raise UsageError(f"{place.url}: names no folder; a URL is {FORMS[scheme]}")
    return place


def _check(arguments: Namespace, found: list[Place]) -> None:
    name = f"{arguments.name} {getattr(arguments, 'method', '')}".strip()
    if name in LOCAL_ONLY:
        raise UsageError(f"{found[0].url}: wim {name} takes folders of this machine only")
    if arguments.name == "publish" and len(arguments.runs) > 1 and not arguments.out:
        raise UsageError(f"{found[0].url}: several runs at URLs need --out FOLDER")


def _beside(arguments: Namespace, found: list[Place]) -> list[Place]:
    """`wim paper -o PAGE` writes its numbers beside the page."""
    pages = [place for place in found if arguments.name == "paper" and place.copy == arguments.out]
    return [Place(page.scheme, str(Path(page.key).with_suffix(".json"))) for page in pages]


def _word(word: str) -> str:
    return re.sub(rf"^(--[a-z]+=)?({'|'.join(FORMS)})://", rf"\g<1>{COPIES}/\g<2>/", word)


def named(text: str) -> str:
    """The text with URLs for the paths of copies; columns of a table stay where they are."""

    def url(found: re.Match[str]) -> str:
        start = f"{found['scheme']}://"
        gap = " " * (len(found["start"]) - len(start)) if found["gap"] else ""
        return start + found["rest"] + gap + found["gap"]

    start = rf"(?P<start>({re.escape(str(Path.cwd()))}/)?{re.escape(str(COPIES))}/(?P<scheme>{'|'.join(FORMS)})/)"
    return re.sub(start + r"(?P<rest>[^\s\"']*)(?P<gap>(  +)?)", url, text)
