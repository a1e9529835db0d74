"""Work on as many hosts as the cluster has room for; what a lost host had in hand goes to another.

Ray restarts nothing by itself: an actor that is to be restarted where no room is left never comes back, and
what it had in hand neither. Instead some more hosts than there are have always been asked for, as long as there is
work for them. They get a place when a node is added or another host is gone.
"""

import contextlib
import itertools
import math
import sys
import time
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

from builder.cluster.host import Host, Item, Make, Result
from builder.errors import EngineError
from builder.tables import first_line

ASKED = 4
"""Hosts without a place yet, at most: they start side by side."""
LOST = 7
"""Times that hosts are lost without a result between them, after which it is the work that ends them."""
PAUSE = 0.5
"""Seconds, doubled each time, without asking for hosts: Ray places them on a dead node until it knows it dead."""
PATIENCE = 15.0
"""Seconds without any host, after which it is told."""
LOOK = 0.5
"""Seconds after which Ctrl-C is seen at the latest."""


@dataclass(frozen=True)
class Size:
    """``cpus`` and ``gpus`` that a host takes; ``hosts`` at most, None: as many as there is room for.

    Every ``chunk`` items are worth a host of their own; ``in_flight`` is what a host has in hand at most.
    """

    cpus: int
    gpus: int
    hosts: int | None
    chunk: int
    in_flight: int


@dataclass(eq=False)
class _Hired(Generic[Item]):
    """A host as the pool sees it; ``call``: what it was asked last and has not answered."""

    actor: Any
    call: Any
    placed: bool = False
    loaded: bool = False
    held: dict[int, Item] = field(default_factory=dict)


class Pool(Generic[Item, Result]):
    """Hosts stay for the next ``run``, and end with the pool."""

    def __init__(self, make: Make[Item, Result], size: Size) -> None:
        self.make, self.size = make, size
        self.hosts: list[_Hired[Item]] = []
        self.lost, self.resume = 0, 0.0
        weakref.finalize(self, _dismiss, self.hosts)

    def run(self, items: Iterator[Item]) -> Iterator[tuple[int, Result]]:
        """Results as they are ready, each with its item's place. Items are taken as there is room for them.

        Raises the work's own error, and EngineError if hosts are lost again and again.
        """
        waiting = _Waiting(items)
        began = time.monotonic()
        self.lost = 0
        try:
            while self._goes_on(waiting):
                self._ask(waiting)
                self._hand_out(waiting)
                began = self._tell_where_none(began)
                for host in self._ready():
                    yield from self._answers(host, waiting)
        finally:
            for host in [host for host in self.hosts if host.held or not host.loaded]:
                self._let_go(host)

    def _goes_on(self, waiting: "_Waiting[Item]") -> bool:
        return any(host.held for host in self.hosts) or waiting.fill(1) > 0

    def _ask(self, waiting: "_Waiting[Item]") -> None:
        """For further hosts, if those that get ready have not enough to do with what waits."""
        if time.monotonic() < self.resume:
            return
        coming = sum(not host.loaded for host in self.hosts)
        asked = sum(not host.placed for host in self.hosts)
        most = math.inf if self.size.hosts is None else self.size.hosts
        while (
            len(self.hosts) < most
            and asked < ASKED
            and waiting.fill(self.size.chunk * (coming + 1)) > (self.size.chunk * coming)
        ):
            self.hosts.append(self._hire())
            coming, asked = coming + 1, asked + 1

    def _hire(self) -> _Hired[Item]:
        import ray

        wanted: Mapping[str, Any] = {"num_cpus": self.size.cpus, "num_gpus": self.size.gpus}
        actor = ray.remote(Host).options(max_restarts=0, max_task_retries=0, **wanted).remote(self.make)
        return _Hired(actor, actor.place.remote())

    def _hand_out(self, waiting: "_Waiting[Item]") -> None:
        """Whoever waits for work gets some, and whoever has work is asked for results."""
        for host in self.hosts:
            if not host.loaded or host.call:
                continue
            items = waiting.take(self._room(waiting) - len(host.held))
            host.held.update(items)
            if host.held:
                host.call = host.actor.exchange.remote(items)

    def _room(self, waiting: "_Waiting[Item]") -> int:
        """What a host has in hand at most: towards the end its share of what is left."""
        at_work = sum(host.placed for host in self.hosts)
        left = waiting.fill(self.size.in_flight * at_work) + sum(len(host.held) for host in self.hosts)
        return min(self.size.in_flight, max(self.size.chunk, math.ceil(left / at_work)))

    def _ready(self) -> list[_Hired[Item]]:
        """Hosts that have answered, if only after a while."""
        import ray

        calls = {host.call: host for host in self.hosts if host.call}
        if not calls:
            time.sleep(min(LOOK, max(0.0, self.resume - time.monotonic())))
            return []
        ready, _ = ray.wait(list(calls), num_returns=1, timeout=LOOK)
        if ready:
            ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        return [calls[call] for call in ready]

    def _answers(self, host: _Hired[Item], waiting: "_Waiting[Item]") -> Iterator[tuple[int, Result]]:
        from ray import get
        from ray.exceptions import RayError, RayTaskError

        call, host.call = host.call, None
        try:
            said = get(call)
        except RayTaskError as error:
            raise getattr(error, "cause", None) or error from error
        except RayError as error:
            self._lose(host, waiting, error)
            return
        if not host.loaded:
            host.loaded, host.placed = host.placed, True
            host.call = None if host.loaded else host.actor.load.remote()
            return
        self.lost = 0
        for number, result in said:
            del host.held[number]
            yield number, result

    def _lose(self, host: _Hired[Item], waiting: "_Waiting[Item]", error: Exception) -> None:
        if host.held:
            print(
                f"an engine was lost with its node or process: {len(host.held):,} rows are done again", file=sys.stderr
            )
        waiting.put_back(host.held)
        host.held = {}
        self._let_go(host)
        if time.monotonic() < self.resume:
            return  # of a loss that is counted
        self.lost += 1
        self.resume = time.monotonic() + PAUSE * 2**self.lost
        if self.lost >= LOST:
            raise EngineError(
                f"engines were lost {LOST} times without a row between, the last one so: {first_line(error)}"
            )

    def _let_go(self, host: _Hired[Item]) -> None:
        self.hosts.remove(host)
        _dismiss([host])

    def _tell_where_none(self, since: float) -> float:
        """Said once, in words: that the cluster has no room. ``since``: when it was last otherwise."""
        if any(host.placed for host in self.hosts):
            return time.monotonic()
        if time.monotonic() - since < PATIENCE:
            return since
        wanted = f"{self.size.cpus} CPU, {self.size.gpus} GPU"
        print(f"no node of the cluster has room for an engine ({wanted}): waiting for one", file=sys.stderr)
        return math.inf


def _dismiss(hosts: list[_Hired[Any]]) -> None:
    import ray
    from ray.exceptions import ActorHandleNotFoundError

    for host in hosts if ray.is_initialized() else []:
        with contextlib.suppress(ActorHandleNotFoundError):  # of a cluster that was left
            ray.kill(host.actor)


class _Waiting(Generic[Item]):
    """Numbered items that no host has. They are read only as far as is asked."""

    def __init__(self, items: Iterator[Item]) -> None:
        self.source = enumerate(items)
        self.read: deque[tuple[int, Item]] = deque()

    def fill(self, count: int) -> int:
        """Read on until ``count`` items wait, or there are no more; how many wait."""
        self.read.extend(itertools.islice(self.source, max(0, count - len(self.read))))
        return len(self.read)

    def take(self, count: int) -> list[tuple[int, Item]]:
        """The next items, at most ``count``."""
        return [self.read.popleft() for _ in range(min(max(0, count), self.fill(count)))]

    def put_back(self, items: dict[int, Item]) -> None:
        """These are the next ones."""
        self.read.extendleft(reversed(items.items()))
