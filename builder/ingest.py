"""ingest: someone's completions and feedback -> prompts, completions and feedback tables.

One record is one judgement. Bad records are reported, counted and kept in rejected.jsonl; a rating
that cannot be read is no bad record, since the text still counts.
"""

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from builder import tables
from builder.errors import InputError
from builder.imported import mapped
from builder.imported.collected import Import, collect
from builder.imported.frames import frames
from builder.imported.grouped import by_id
from builder.params import Params
from builder.records import Rejected


@dataclass
class Accounting:
    """What became of the records: records = judgements + duplicates + rejected.

    ``prompt_conflicts`` counts prompt ids that came with more than one prompt.
    """

    records: int = 0
    judgements: int = 0
    duplicates: int = 0
    rejected: int = 0
    prompt_conflicts: int = 0
    prompts: int = 0
    completions: int = 0


def run(
    files: Sequence[Path], folder: Path, params: Params, columns: Mapping[str, str] | None = None, strict: bool = False
) -> Accounting:
    """Write the three tables, ingest.json and, if records are bad, rejected.jsonl.

    ``columns`` (ours: theirs) renames the fields of the records. Raises InputError if a file cannot be
    read to its end, if no record is usable, or if ``strict`` and one is bad.
    """
    rejected = Rejected(strict)
    with _nothing_collected():
        made = collect(mapped.read(files, columns or {}), params, rejected)
        rejected.write(folder / "rejected.jsonl")
        if not made.prompts:
            names = ", ".join(map(str, files))
            first = f"; the first fault: {rejected.records[0]}" if rejected.records else ": nothing in it"
            raise InputError(f"{names}: no usable record among {made.records}{first}")
        frames, account = _accounted(made, len(rejected.records))
        del made  # its texts are in the frames
    settings = {"judge": params.judge.name, "scale": list(params.rating.scale)}
    for stale in ("embeddings.parquet", "ratings.parquet", "pairs.parquet", "stats.json"):
        (folder / stale).unlink(missing_ok=True)  # they speak of other records
    about = tables.metadata("ingest", settings, {f"file {i}": file for i, file in enumerate(files)})
    for name, frame in frames.items():
        tables.write(tables.path(folder, name), name, frame, about)
    tables.write_json(folder / "ingest.json", vars(account))
    return account


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """Without Python's search for cycles: of millions of objects here, all stay and none is in a cycle."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _accounted(made: Import, rejected: int) -> tuple[dict[str, pl.DataFrame], Accounting]:
    groups, conflicts = by_id(made)
    made_of = frames(groups, made.owned)
    prompts, completions, judgements = (len(frame) for frame in made_of.values())
    return made_of, Accounting(made.records, judgements, made.duplicates, rejected, conflicts, prompts, completions)
