"""What a table says of its making, and whether that is true of the tables that are there now."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from builder import __version__
from builder.errors import TableError
from builder.ids import file_sha256
from builder.tables.reading import open_parquet

LIBRARIES = ("peft", "polars", "pyarrow", "sentence-transformers", "torch", "transformers", "trl")


def metadata(stage: str, params: Mapping[str, Any], inputs: Mapping[str, Path], **facts: Any) -> dict[str, Any]:
    """What a table says of its making: stage, parameters, input fingerprints, versions, further facts.

    ``inputs`` are paths of tables, recorded by the SHA-256 of their bytes under the name given.
    """
    return {
        "stage": stage,
        "params": dict(params),
        "inputs": fingerprints(inputs),
        "versions": {library: version(library) for library in LIBRARIES},
        "created_by": f"what-is-missing {__version__}",
        **facts,
    }


def fingerprints(inputs: Mapping[str, Path]) -> dict[str, str]:
    """The first 32 hex digits of each file's SHA-256."""
    return {name: file_sha256(path)[:32] for name, path in inputs.items()}


def read_metadata(file: Path) -> dict[str, Any]:
    """What the table says of its making; empty for a table made by others."""
    raw = (open_parquet(file).schema_arrow.metadata or {}).get(b"wim")
    said = json.loads(raw) if raw else {}
    return said if isinstance(said, dict) else {}


def check_made_from(file: Path, now: Mapping[str, str], stage: str) -> None:
    """Raises TableError if ``file`` says that it was made from tables of other fingerprints: ids alone would match."""
    said = read_metadata(file).get("inputs", {})
    for name in now.keys() & said.keys():
        if now[name] != said[name]:
            raise TableError(f"{file}: was made from another {name}.parquet; run `wim {stage} {file.parent}` again")


def check_unchanged(now: Mapping[str, str], before: Mapping[str, str]) -> None:
    """Raises TableError if a table is no longer what it was: rows of the one would stand for the other."""
    for name, fingerprint in now.items():
        if fingerprint != before[name]:
            raise TableError(f"{name}.parquet: changed while it was worked on; run the same command again")
