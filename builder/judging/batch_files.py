"""Lines in as many files as a service's limits ask for: FILE.jsonl or FILE-1.jsonl, FILE-2.jsonl and so on."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from builder import tables


class Files:
    """At most ``most`` lines and ``largest`` bytes in each; they have temporary names until all is written."""

    def __init__(self, file: Path, most: int, largest: int) -> None:
        self.file, self.most, self.largest = file, most, largest
        self.temporary: list[Path] = []
        self.out: IO[bytes] | None = None
        self.room = (0, 0)
        self.requests = self.escaped = 0

    def write(self, line: bytes) -> None:
        """Add a line. Raises TableError where the disk is full or the folder cannot be written to."""
        requests, size = self.room
        with tables.told(self.file):
            if self.out is None or requests == 0 or len(line) > size:
                self.out = self._next()
                requests, size = self.most, self.largest
            self.out.write(line)
        self.room = requests - 1, size - len(line)
        self.requests += 1

    def _next(self) -> IO[bytes]:
        self.close()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.temporary.append(self.file.with_name(f".{self.file.name}.{os.getpid()}.{len(self.temporary)}.tmp"))
        return self.temporary[-1].open("wb")

    def close(self) -> None:
        """Close the file that is being written."""
        if self.out:
            self.out.close()

    def publish(self) -> list[Path]:
        """Give the files their names, which are returned."""
        with tables.told(self.file):
            self.close()
            for temporary, name in zip(self.temporary, self._names(), strict=True):
                tables.publish_file(temporary, name)
        return self._names()

    def _names(self) -> list[Path]:
        if len(self.temporary) == 1:
            return [self.file]
        numbers = range(1, len(self.temporary) + 1)
        return [self.file.with_name(f"{self.file.stem}-{number}{self.file.suffix}") for number in numbers]


@contextlib.contextmanager
def limited(file: Path, most: int, largest: int) -> Iterator[Files]:
    """Files that are gone when the block ends, unless they are published."""
    out = Files(file, most, largest)
    try:
        yield out
    finally:
        with contextlib.suppress(OSError):  # of a full disk, which was told already
            out.close()
        for temporary in out.temporary:
            temporary.unlink(missing_ok=True)
