"""Files that are written all or not at all, and errors of the disk as one clear line."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from builder.errors import TableError


def write_text(file: Path, text: str) -> None:
    """Write a text file as tables are written: all of it or nothing."""
    write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file as tables are written: all of it or nothing."""
    temporary = temporary_of(file)
    try:
        with told(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            publish_file(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(file: Path, value: Any) -> None:
    """Indented JSON with a final newline; NaN is refused."""
    write_text(file, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(file: Path) -> Any:
    """A JSON file. Raises TableError if it is missing or not JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TableError(f"{file}: {first_line(error)}") from error


def temporary_of(file: Path) -> Path:
    """The name under which a file is written. What killed processes left under such a name is removed."""
    for left in file.parent.glob(f".{file.name}.*.tmp"):
        if not Path("/proc", left.name.split(".")[-2]).exists():
            left.unlink(missing_ok=True)
    return file.with_name(f".{file.name}.{os.getpid()}.tmp")


def publish_file(temporary: Path, file: Path) -> None:
    """Sync ``temporary`` to the disk and rename it to ``file``."""
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(temporary, file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def told(file: Path) -> Iterator[None]:
    """Errors of the disk as one clear line that names the file."""
    try:
        yield
    except OSError as error:
        raise TableError(f"{file}: cannot be written: {first_line(error)}") from error


@contextlib.contextmanager
def damaged(file: Path) -> Iterator[None]:
    """Errors while a Parquet file is read as one clear line that names it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{file}: damaged: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an error of a library says, in one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
