"""rate + pair over ten times and a hundred times the rows: time grows as the rows do, memory not at all."""

from functools import partial
from pathlib import Path

from bench.figures import Figure, Measured
from bench.harness import Cost, Setup, cpus, empty_folder, made, ratio, run, turns, walls, wim
from bench.tables import SMALL, fresh_run


def measure(setup: Setup) -> Measured:
    most = SMALL if setup.small else setup.rows
    sizes = [most // 100, most // 10, most][1 if setup.small else 0 :]
    costs: dict[str, list[Cost]] = {}
    for size in sizes:
        data = made(setup, "tables", size)
        with empty_folder(setup) as folder:
            costs |= turns({f"{size:,} completions": partial(stages, data, folder)}, setup.repeat)
    fewer, more = list(costs.values())[-2:]
    peak = ratio([cost.peak for cost in more], [cost.peak for cost in fewer])
    figures = [
        Figure("CPU seconds for ten times the rows", ratio(cpus(more), cpus(fewer)), at_most=11, guarded=True),
        Figure("seconds for ten times the rows", ratio(walls(more), walls(fewer)), at_most=11),
        Figure("peak memory for ten times the rows", peak, at_most=1.1),
    ]
    return Measured(figures, {"completions": sizes, "dimensions": 384, "turns": setup.repeat}, costs)


def stages(data: Path, folder: Path) -> Cost:
    copy = fresh_run(data, folder)
    return run(wim("rate", copy), folder) + run(wim("pair", copy), folder)
