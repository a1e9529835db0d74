"""rate + pair + stats over tables with vectors, against Parquet in and out and against plain scripts."""

import json
from pathlib import Path

from bench.figures import Figure, Measured
from bench.harness import BenchError, Cost, Setup, cpus, empty_folder, made, python, ratio, run, turns, walls, wim

SMALL = 20_000
MIB = 1536
"""No stage may hold more."""
PEERS = {"pandas": "bench.against.pandas_rows", "datasets.map": "bench.against.datasets_map"}


def measure(setup: Setup) -> Measured:
    rows = SMALL if setup.small else setup.rows
    data = made(setup, "tables", rows)
    with empty_folder(setup) as folder:
        costs = turns({"raw Parquet": lambda: raw(data, setup), "wim": lambda: stages(data, folder)}, setup.repeat)
        peers, some = against_peers(data, folder, setup)
        check_stats(folder / "run", rows)
    limit, ours = costs["raw Parquet"], costs["wim"]
    figures = [
        Figure("CPU seconds over raw Parquet", ratio(cpus(ours), cpus(limit)), at_most=2, guarded=True),
        Figure("seconds over raw Parquet", ratio(walls(ours), walls(limit)), at_most=2),
        Figure("largest peak memory", max(cost.peak for cost in ours), "MiB", at_most=MIB),
    ]
    for name, found in peers.items():
        by_cpu, by_wall = (ratio(kind(found), kind(ours)) * rows / some for kind in (cpus, walls))
        figures += [
            Figure(f"rows per CPU second over {name}", by_cpu, at_least=20, guarded=True),
            Figure(f"rows/s over {name}", by_wall, at_least=20),
        ]
    settings = {"completions": rows, "dimensions": 384, "rows of the peers": some, "turns": setup.repeat}
    return Measured(figures, settings, costs | peers)


def raw(data: Path, setup: Setup) -> Cost:
    with empty_folder(setup) as folder:
        return run(python("bench.against.raw_parquet", data / "run", folder), folder)


def stages(data: Path, folder: Path) -> Cost:
    """`wim rate`, `wim pair` and `wim stats`, one after the other, on a run that holds none of what they make."""
    copy = fresh_run(data, folder)
    return run(wim("rate", copy), folder) + run(wim("pair", copy), folder) + run(wim("stats", copy), folder)


def fresh_run(data: Path, folder: Path) -> Path:
    """A run folder with the tables of ``data`` as links, and no others."""
    copy = folder / "run"
    copy.mkdir(exist_ok=True)
    for file in copy.iterdir():
        file.unlink()
    for file in (data / "run").iterdir():
        (copy / file.name).hardlink_to(file)
    return copy


def against_peers(data: Path, folder: Path, setup: Setup) -> tuple[dict[str, list[Cost]], int]:
    """What the plain scripts cost, and over how many rows. Raises BenchError if their pairs are others than ours."""
    costs: dict[str, list[Cost]] = {name: [] for name in PEERS}
    rows = 0
    for _ in range(setup.repeat):
        for name, module in PEERS.items():
            with empty_folder(setup) as theirs:
                cost = run(python(module, data / "rows.parquet", theirs), theirs, HF_DATASETS_CACHE=str(theirs))
                said = cost.said()
                costs[name].append(Cost(said["wall"], said["cpu"], cost.peak))
                compared = python("bench.same", "pairs", folder / "run/pairs.parquet", theirs / "pairs.parquet")
                same = run(compared, folder).said()
            if same["same"] < 0.999:  # two cosines may be equal but for the last bits
                raise BenchError(f"{name}: {same['same']:.1%} of its pairs are ours")
            rows = 4 * same["pairs"]
    return costs, rows


def check_stats(run_folder: Path, rows: int) -> None:
    """Raises BenchError if not every completion was rated."""
    ratable = json.loads((run_folder / "stats.json").read_text())["judgements"]["ratable"]
    if ratable != rows:
        raise BenchError(f"{ratable:,} of {rows:,} judgements were ratable")
