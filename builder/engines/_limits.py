"""What a server allows: so many requests and tokens a minute, and the pauses that it asks for."""

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass

STEP = 0.25
"""Seconds after which whoever waits looks again: a correction or a pause may have changed the wait."""


@dataclass
class Entry:
    """What was taken, and when on the monotonic clock."""

    at: float
    amount: int


class Window:
    """A sliding window: no more than ``limit`` in any ``seconds`` on end; None: no limit."""

    def __init__(self, limit: int | None, seconds: float = 60.0) -> None:
        self.limit = math.inf if limit is None else limit
        self.seconds = seconds
        self.entries: deque[Entry] = deque()
        self.total = 0

    def wait(self, amount: int) -> float:
        """Seconds until it is worth looking again; 0 if ``amount`` fits.

        What is larger than the limit fits into an empty window, or it would wait for ever.
        """
        now = self._forget()
        if not self.entries or self.total + amount <= self.limit:
            return 0.0
        return self.entries[0].at + self.seconds - now

    def take(self, amount: int) -> Entry:
        entry = Entry(time.monotonic(), amount)
        self.entries.append(entry)
        self.total += amount
        return entry

    def correct(self, entry: Entry, amount: int) -> None:
        """``entry`` was an estimate; ``amount`` is what it came to."""
        if entry.at > self._forget() - self.seconds:
            self.total += amount - entry.amount
            entry.amount = amount

    def _forget(self) -> float:
        """Drop what is too old; the time now."""
        now = time.monotonic()
        while self.entries and self.entries[0].at <= now - self.seconds:
            self.total -= self.entries.popleft().amount
        return now


class Gate:
    """Where every try waits for its turn, first come, first served. It belongs to one event loop."""

    def __init__(self, requests: Window, tokens: Window) -> None:
        self.requests, self.tokens = requests, tokens
        self.line = asyncio.Lock()
        self.opens = 0.0

    async def enter(self, tokens: int) -> Entry:
        """Wait until one request of so many tokens is allowed, and take them. The entry is the tokens'."""
        async with self.line:
            while (wait := self._wait(tokens)) > 0:
                await asyncio.sleep(min(wait, STEP))
            self.requests.take(1)
            return self.tokens.take(tokens)

    def pause(self, seconds: float) -> None:
        """Nobody enters for so long."""
        self.opens = max(self.opens, time.monotonic() + seconds)

    def _wait(self, tokens: int) -> float:
        return max(self.opens - time.monotonic(), self.requests.wait(1), self.tokens.wait(tokens))
