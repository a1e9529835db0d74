"""What the stages add to an engine: rows/s of `wim complete` against the engine itself, and memory by rows.

    python bench/engines.py [--engines transformers vllm] [--rows 2000] [--repeat 3]

Each measurement is a process of its own; the two ways take turns, so that a load on the machine meets both.
Times begin with the loaded engine. Resumption is on: rows are keyed, kept in parts, and read back.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from builder import complete, generate, params, plugins, policy, tables

ROOT = Path(__file__).parents[1]
PROMPTS = 200
MEMORY = (1_000, 100_000)


def settings(engine: str, rows: int) -> params.Params:
    count = 4 if engine == "echo" else rows // PROMPTS
    return params.load(ROOT / "params.yaml", [f"engine.name={engine}", f"complete.n={count}"])


def measure_direct(engine: str, rows: int) -> None:
    """The engine with all requests, and nothing else."""
    given = settings(engine, rows)
    by = policy.base(given.model)
    loaded: Any = plugins.load("engines", engine).Engine(given, [by])
    prompts = tables.read(Path("run/prompts.parquet"), "prompts", ["prompt_id", "messages"])
    requests = list(complete.requests([prompts], by, given))
    start = time.perf_counter()
    done = sum(1 for _ in loaded.generate(requests))
    report(done, start)


def measure_stage(engine: str, rows: int) -> None:
    """The stage `complete`, from the prompts table to the completions table."""
    given = settings(engine, rows)
    source = generate.Lazy(given, [policy.base(given.model)])
    source.engine = source.module.Engine(given, source.policies)
    start = time.perf_counter()
    done = complete.run(Path("run"), given, source=source).completions
    report(done, start)


def report(rows: int, start: float) -> None:
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "seconds": seconds, "peak_mb": peak}))


def child(way: str, engine: str, rows: int) -> dict[str, float]:
    """One measurement in an empty folder, by this script in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        source = write_prompts(Path(folder), rows // 4 if engine == "echo" else PROMPTS)
        write = (
            f"prompts {folder}/run --set prompts.source={source} --set prompts.limit=null --set prompts.heldout=null"
        )
        wim = [sys.executable, "-m", "builder.cli", *write.split()]
        subprocess.run(wim, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        command = [sys.executable, __file__, "--measure", way, "--engines", engine, "--rows", str(rows)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=environment())
        measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return measured


def environment() -> dict[str, str]:
    return os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def write_prompts(folder: Path, count: int) -> Path:
    """The demo's prompts, or as many numbered ones as are asked for."""
    if count == PROMPTS:
        return ROOT / "data/demo/prompts.jsonl"
    file = folder / "prompts.jsonl"
    words = "what it is made of, where it is found and what it is used for "
    lines = (json.dumps({"prompt": f"Describe thing number {i}: {words * (1 + i % 5)}"}) for i in range(count))
    file.write_text("\n".join(lines))
    return file


def overhead(engine: str, rows: int, repeat: int) -> None:
    """Prints rows/s of both ways and their ratio, the median over the repeats."""
    ratios = []
    for _ in range(repeat):
        direct, stage = child("direct", engine, rows), child("stage", engine, rows)
        speed = [m["rows"] / m["seconds"] for m in (direct, stage)]
        ratios.append(speed[1] / speed[0])
        print(f"{engine}: {speed[0]:,.1f} rows/s directly, {speed[1]:,.1f} through the stage: {ratios[-1]:.3f}")
    print(f"{engine}: ratio {median(ratios):.3f} (median of {repeat}; wanted: at least 0.95)")


def memory() -> None:
    """Prints time and peak memory of `complete` through the echo engine."""
    few, many = (child("stage", "echo", rows) for rows in MEMORY)
    for measured in (few, many):
        print(f"echo: {measured['rows']:,} rows in {measured['seconds']:.1f} s, peak {measured['peak_mb']:,.0f} MB")
    print(f"echo: {many['peak_mb'] / few['peak_mb']:.2f} times the memory for {MEMORY[1] // MEMORY[0]} times the rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="*", default=["transformers", "vllm"])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--measure", choices=["direct", "stage"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        {"direct": measure_direct, "stage": measure_stage}[arguments.measure](arguments.engines[0], arguments.rows)
        return
    memory()
    for engine in arguments.engines:
        overhead(engine, arguments.rows, arguments.repeat)


if __name__ == "__main__":
    main()
