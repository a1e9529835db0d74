"""Records under our names of fields."""

import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from builder import records
from builder.errors import UsageError
from builder.records import Bad, Record

FIELDS = frozenset(
    {"prompt", "prompt_id", "completion", "completion_id", "feedback", "rating", "rating_min", "rating_max"}
    | {"raw", "judge", "sample", "reference", "source", "model"}
)


def read(files: Iterable[Path], columns: Mapping[str, str]) -> Iterator[Record | Bad]:
    """The records of the files, one after the other; ``columns`` (ours: theirs) renames their fields.

    Raises UsageError if one is none of ours, and InputError as ``records.read`` does.
    """
    for name in columns:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, sorted(FIELDS), n=1, cutoff=0.0)[0]
            raise UsageError(f"--map {name}=...: there is no field {name!r}; the nearest is {near!r}")
    found = itertools.chain.from_iterable([records.read(file) for file in files])
    return (_renamed(item, columns) for item in found) if columns else found


def _renamed(item: Record | Bad, columns: Mapping[str, str]) -> Record | Bad:
    return item._replace(fields=records.rename(item.fields, columns)) if isinstance(item, Record) else item
