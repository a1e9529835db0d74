"""What a program says of itself: the time since its libraries were imported. Peers are not charged for imports."""

import json
import resource
import time

Started = tuple[float, float]


def start() -> Started:
    return time.perf_counter(), _cpu()


def tell(started: Started, **more: float) -> None:
    """Prints one JSON object: wall and CPU seconds since ``start``, children included, and what else is told."""
    wall, cpu = time.perf_counter() - started[0], _cpu() - started[1]
    print(json.dumps({"wall": wall, "cpu": cpu} | more))


def _cpu() -> float:
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(who)[:2]) for who in whose)
