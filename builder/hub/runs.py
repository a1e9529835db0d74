"""The runs of a publication: what their configurations are called, and which of them is the default."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder import tables

TAKEN = ("default", "ratings", "unprompted")


@dataclass(frozen=True)
class Run:
    """``label`` names it in tables and stats.json, ``config`` is the name of its configuration."""

    folder: Path
    arm: str
    round: int
    label: str
    config: str


def named(folders: Sequence[Path]) -> list[Run]:
    """The runs with names of their own: arm and round or else the folder's, never a path."""
    keys = [_key(folder) for folder in folders]
    names = [folder.resolve().name for folder in folders]
    labels = [f"{arm} round {index}" if arm else name for name, (arm, index) in zip(names, keys, strict=True)]
    configs = [f"{arm}-round{index}" if arm else f"round{index}" for arm, index in keys]
    if len(set(configs)) < len(configs):
        configs = labels
    each = zip(folders, keys, _apart(labels), _apart([_slug(config) for config in configs]), strict=True)
    return [Run(folder, arm, index, label, config) for folder, (arm, index), label, config in each]


def default(runs: Sequence[Run]) -> Run:
    """The last round; of several arms the one that is named first.

    Not the union: arms label the same completions against each other, and a round's pairs are samples of the policy
    that it trains.
    """
    last = max(run.round for run in runs)
    return next(run for run in runs if run.round == last)


def tag(runs: Sequence[Run]) -> str:
    """What a revision with these runs is called: their arm, if it is one, and the last round."""
    arms = {run.arm for run in runs}
    last = max(run.round for run in runs)
    return f"{_slug(runs[0].arm)}-round{last}" if len(arms) == 1 and runs[0].arm else f"round{last}"


def _key(folder: Path) -> tuple[str, int]:
    """Arm and round of a run, as its pairs say; a run without pairs has none."""
    file = tables.path(folder, "pairs")
    if not file.is_file():
        return "", 0
    names = {key for block in tables.batches(file, "pairs", ["arm", "round"]) for key in block.unique().iter_rows()}
    return names.pop() if len(names) == 1 else ("", 0)


def _slug(name: str) -> str:
    """A name that can be part of a file's, of a configuration's and of a tag's."""
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "run"
    return f"run-{slug}" if slug in TAKEN else slug


def _apart(names: Sequence[str]) -> list[str]:
    """The names, numbered where they are equal."""
    made: list[str] = []
    for name in names:
        others = (f"{name}-{n}" for n in range(2, len(names) + 2))
        made.append(name if name not in made else next(other for other in others if other not in made))
    return made
