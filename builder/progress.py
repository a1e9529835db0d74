"""One line on stderr that says how far a stage is; nothing where stderr is not a terminal."""

import os
import sys
import time
from datetime import timedelta
from types import TracebackType
from typing import Self

EVERY = 0.2
"""Seconds between two looks of the line."""
CLEAR = "\x1b[K"
"""Clears the rest of a line."""


class Progress:
    """Rows done, of these from before, rows and tokens per second, time left."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total = label, total
        self.kept = self.worked_out = self.tokens = 0
        self.started = self.shown = time.monotonic()

    def __enter__(self) -> Self:
        self._show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show(end="\n")

    def from_before(self, rows: int) -> None:
        """Rows that need no work: they count as done, and not for the speed."""
        self.kept += rows

    def done(self, rows: int, tokens: int) -> None:
        """Rows that were worked out, and the tokens that were generated for them."""
        self.worked_out += rows
        self.tokens += tokens
        if time.monotonic() - self.shown > EVERY:
            self.shown = time.monotonic()
            self._show()

    def _show(self, end: str = "") -> None:
        if sys.stderr.isatty():
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80  # some terminals do not say
            line = self.line(time.monotonic() - self.started, columns - 1)
            print(f"\r{line}{CLEAR}", end=end, file=sys.stderr, flush=True)

    def line(self, elapsed: float, width: int) -> str:
        """After ``elapsed`` seconds, in ``width`` columns: where these are too few, the least telling parts go."""
        done = self.kept + self.worked_out
        parts = {"rows": f"{self.label}: {done:,} of {self.total:,} rows"}
        if self.kept:
            parts["kept"] = f"{self.kept:,} from before"
        if self.worked_out and elapsed:
            rate = self.worked_out / elapsed
            parts["rate"] = f"{_figure(rate)} rows/s"
            parts |= {"tokens": f"{_figure(self.tokens / elapsed)} tokens/s"} if self.tokens else {}
            parts["left"] = f"{timedelta(seconds=round(max(0, self.total - done) / rate))} left"
        for least in ("kept", "tokens", "rate"):
            if len(", ".join(parts.values())) > width:
                parts.pop(least, None)
        return ", ".join(parts.values())[:width]


def _figure(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
