"""Files of records: of what kind one is, by its name, and its bytes, unzipped."""

import gzip
import io
from pathlib import Path

from builder.errors import InputError

KINDS = (".jsonl", ".json", ".csv", ".parquet")


def kind(file: Path) -> str:
    """One of ``KINDS``, by the file's name. Raises InputError for another."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    kind = "".join((suffixes[:-1] if zipped else suffixes)[-1:])
    if kind not in (KINDS[:3] if zipped else KINDS):
        raise InputError(f"{file}: unknown kind of file; known are {', '.join(KINDS)}, and .gz of the first three")
    return kind


def opened(file: Path) -> io.BufferedReader:
    """Its bytes; of a .gz file what was zipped."""
    return io.BufferedReader(gzip.open(file)) if file.suffix.lower() == ".gz" else file.open("rb")
