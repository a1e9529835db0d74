"""An actor that works on what it is handed. The work has a thread of its own and never waits for the driver."""

import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Iterator[Item]], Iterator[tuple[int, Result]]]
"""Results as they are ready, each with its item's place."""
Make = Callable[[], Work[Item, Result]]
"""Makes the work ready on the node where it is to be done: loads a model, say."""

MOST = 1024
"""Results of one answer."""


class Host(Generic[Item, Result]):
    """One at a time are called: ``place``, ``load``, and then ``exchange`` again and again."""

    def __init__(self, make: Make[Item, Result]) -> None:
        self.make = make
        self.asked: queue.SimpleQueue[tuple[int, Item]] = queue.SimpleQueue()
        self.said: queue.SimpleQueue[tuple[int, Result] | Exception | None] = queue.SimpleQueue()
        self.fault: Exception | None = None

    def place(self) -> None:
        """Answers as soon as the actor has a place."""

    def load(self) -> None:
        """Answers when the work is ready. Raises what kept it from being so."""
        threading.Thread(target=self._run, daemon=True).start()
        said = self.said.get()
        if isinstance(said, Exception):
            raise said

    def exchange(self, items: Sequence[tuple[int, Item]]) -> list[tuple[int, Result]]:
        """Hand over numbered items; at least one result of these or of earlier ones. Raises the work's error."""
        for item in items:
            self.asked.put(item)
        found: list[tuple[int, Result]] = []
        while not found or (len(found) < MOST and not self.said.empty() and not self.fault):
            said = self.fault or self.said.get()
            if not isinstance(said, Exception):
                assert said is not None
                found.append(said)
            elif found:
                self.fault = said  # what was finished before it comes first
            else:
                raise said
        return found

    def _run(self) -> None:
        try:
            work = self.make()
            self.said.put(None)
            while True:
                numbers: dict[int, int] = {}
                for place, result in work(self._at_hand(numbers)):
                    self.said.put((numbers.pop(place), result))
        except Exception as error:
            self.said.put(error)
        except BaseException as error:  # a library that would end the process ends the work
            self.said.put(RuntimeError(f"{type(error).__name__}: {error}"))

    def _at_hand(self, numbers: dict[int, int]) -> Iterator[Item]:
        """Waits for an item; ends when there is none for the moment, so that what is under way can be finished."""
        with_number = self.asked.get()
        for place in itertools.count():
            numbers[place], item = with_number
            yield item
            try:
                with_number = self.asked.get_nowait()
            except queue.Empty:
                return
