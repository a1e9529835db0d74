"""A dataset that `wim publish` wrote: a folder, or OWNER/NAME[@REVISION] on the Hub.

Its pairs have a configuration for each run or, in older ones, one for all; `default` may be one of these again. The
configuration `ratings` holds every judgement. All splits count. A folder is read as it lies there: `datasets` would
keep a copy, and give the rows of an older folder that had the same name.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from builder import tables
from builder.errors import InputError
from builder.hub.folder import PARAMETERS, STATS

DEFAULT, RATINGS, UNPROMPTED = "default", "ratings", "unprompted"
RUN = ("arm", "round")
"""Columns that name the run of a row."""
BLOCK = 4_096

Run = TypeVar("Run")

Blocks = Callable[[Sequence[str] | None], Iterator[pl.DataFrame]]
"""The rows of a file or split, all columns unless some are named."""


@dataclass(frozen=True)
class Published:
    """``stats``, ``parameters``: stats.json and, by stage, the parameters of each run, by its label.

    Empty where the dataset has none: it was published before that was written.
    """

    name: str
    parts: dict[str, list[Blocks]]
    stats: dict[str, Any]
    parameters: dict[str, Any]

    def pairs(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Every pair once, in blocks. Raises InputError where a column is missing."""
        yield from self._read("pairs", columns)

    def ratings(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Every judgement, in blocks. Raises InputError where a column is missing."""
        yield from self._read(RATINGS, columns)

    def of(self, told: dict[str, Any], arm: str, index: int) -> Any:
        """What ``stats`` or ``parameters`` say of a run: by its label or, where it has none, of the only run."""
        alone = next(iter(told.values())) if len(told) == 1 else None
        return told.get(f"{arm} round {index}", alone)

    def _read(self, part: str, columns: Sequence[str] | None) -> Iterator[pl.DataFrame]:
        for blocks in self.parts[part]:
            try:
                yield from blocks(columns)
            except KeyError as error:
                why = "was it published with another --schema?" if part == "pairs" else "was `wim publish` older?"
                raise InputError(f"{self.name}: the {part} have no column {error.args[0]!r}; {why}") from error


def named(name: str) -> tuple[str, str]:
    """A folder or dataset and the run of it that ``NAME:RUN`` names; "" where it names none."""
    whole, colon, run = name.rpartition(":")
    return (whole, run) if colon and not Path(name).exists() else (name, "")


def chosen(name: str, runs: dict[str, Run], run: str) -> dict[str, Run]:
    """The one of that label, or all where it is "". Raises InputError if there is none."""
    if run and run not in runs:
        raise InputError(f"{name}: there is no run {run}; there are {', '.join(runs)}")
    return {run: runs[run]} if run else runs


def label(arm: str, index: int) -> str:
    """As `wim publish` calls the configuration of a run."""
    return f"{arm}-round{index}" if arm else f"round{index}"


def label_of(folder: Path, pairs: pl.DataFrame) -> str:
    """Of a run folder by its pairs table: as it would be published or, without an arm, the folder's name."""
    arm, index = pairs.select(RUN).row(0) if len(pairs) else ("", 0)
    return label(arm, index) if arm else folder.resolve().name


def runs_of(found: Published, ratings: pl.DataFrame) -> list[tuple[str, int]]:
    """Arm and round of each run. Raises InputError where several runs have the same."""
    runs: list[tuple[str, int]] = ratings.select(RUN).unique(maintain_order=True).rows()
    twice = ratings.select(*RUN, "completion_id", "judge").is_duplicated().any()
    if twice or sum(bool(stats.get("pairs")) for stats in found.stats.values()) > len(runs):
        told = "holds several runs whose judgements cannot be told apart; publish each on its own"
        raise InputError(f"{found.name}: {told}")
    return runs


def find(name: str) -> Published:
    """The dataset of that folder or name. Raises InputError if there is none, or if it holds no pairs or no ratings."""
    found = _folder(Path(name)) if Path(name).is_dir() else _hub(name)
    if not found.parts[RATINGS] or not found.parts["pairs"]:
        raise InputError(f"{name}: neither a run folder nor a dataset that `wim publish` wrote")
    return found


def _folder(folder: Path) -> Published:
    files = {part: [file for name in names for file in sorted((folder / name).rglob("*.parquet"))]
             for part, names in {"pairs": ("data", UNPROMPTED), RATINGS: (RATINGS,)}.items()}  # fmt: skip
    told = [tables.read_json(file) if (file := folder / name).is_file() else {} for name in (STATS, PARAMETERS)]
    return Published(str(folder), {part: [_of_file(file) for file in found] for part, found in files.items()}, *told)


def _of_file(file: Path) -> Blocks:
    def blocks(columns: Sequence[str] | None) -> Iterator[pl.DataFrame]:
        parquet = tables.open_parquet(file, streamed=True)
        wanted = _there(columns, parquet.schema_arrow.names)
        with tables.damaged(file):
            for batch in parquet.iter_batches(BLOCK, columns=wanted):
                yield pl.DataFrame(batch)

    return blocks


def _hub(name: str) -> Published:
    repo, _, revision = name.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise InputError(f"{name}: there is no such folder, and a name on the Hub is OWNER/NAME")
    at = {"revision": revision or None}
    configs = set(_told(name, "get_dataset_config_names", repo, **at))
    pairs = configs - {RATINGS}
    if pairs - {DEFAULT, UNPROMPTED}:
        pairs.discard(DEFAULT)  # one of the others again
    wanted = {"pairs": sorted(pairs), RATINGS: sorted(configs & {RATINGS})}
    loaded = {
        part: [split for config in names for split in _told(name, "load_dataset", repo, config, **at).values()]
        for part, names in wanted.items()
    }
    parts = {part: [_of_split(split) for split in splits] for part, splits in loaded.items()}
    return Published(name, parts, *(_json(repo, file, at) for file in (STATS, PARAMETERS)))


def _told(name: str, function: str, *arguments: Any, **options: Any) -> Any:
    """What `datasets` says. Raises InputError, in one line, where it fails."""
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        return getattr(datasets, function)(*arguments, **options)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise InputError(f"{name}: neither a run folder nor a dataset: {tables.first_line(error)}") from error


def _of_split(split: Any) -> Blocks:
    def blocks(columns: Sequence[str] | None) -> Iterator[pl.DataFrame]:
        chosen = split.select_columns(_there(columns, split.column_names))
        for block in chosen.with_format("arrow").iter(BLOCK):
            yield pl.DataFrame(block)

    return blocks


def _there(wanted: Sequence[str] | None, names: Sequence[str]) -> list[str]:
    """Raises KeyError with the first of the columns that is not there."""
    for column in wanted or ():
        if column not in names:
            raise KeyError(column)
    return list(wanted or names)


def _json(repo: str, file: str, at: dict[str, Any]) -> dict[str, Any]:
    """A file of the repository; the rows can be read without."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError

    try:
        return dict(tables.read_json(Path(hf_hub_download(repo, file, repo_type="dataset", **at))))
    except (HTTPError, OSError, ValueError):
        return {}
