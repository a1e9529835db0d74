"""How long `wim --help` takes, and a `dvc repro` of the demo's pipeline that has nothing to do."""

import shutil
from pathlib import Path

from bench.figures import Figure, Measured
from bench.harness import ROOT, BenchError, Cost, Setup, cpus, empty_folder, python, ratio, run, turns, walls, wim

REPEAT = 5


def measure(setup: Setup) -> Measured:
    with empty_folder(setup) as folder:
        pipeline = checkout(folder)

        def again() -> Cost:
            cost = run(["dvc", "repro"], pipeline)
            if "Running stage" in cost.output or "up to date" not in cost.output:
                raise BenchError(f"dvc repro had something to do: {cost.output[-400:]}")
            return cost

        ways = {
            "python": lambda: run(["python", "-c", "import argparse, json"], folder),
            "wim --help": lambda: run(wim("--help"), folder),
            "dvc repro": again,
        }
        turns(ways, 1)  # compiled modules are written
        costs = turns(ways, max(setup.repeat, REPEAT) if not setup.small else 2)
    fastest = {name: min(walls(cost)) for name, cost in costs.items()}
    figures = [
        Figure("wim --help", fastest["wim --help"], "s", at_most=0.3),
        Figure("dvc repro with nothing to do", fastest["dvc repro"], "s", at_most=2),
    ]
    figures += [
        Figure(f"CPU seconds of {name} over Python's", ratio(cpus(costs[name]), cpus(costs["python"])), guarded=True)
        for name in ("wim --help", "dvc repro")
    ]
    return Measured(figures, {"turns": len(costs["python"])}, costs)


def checkout(folder: Path) -> Path:
    """The demo's dvc.yaml, parameters, code and settings as they are; its outputs stand-ins, recorded as made."""
    for name in ("builder", "train", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore", ".dvc/config"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    run(["git", "init", "-q"], folder)
    run(python("bench.finished"), folder)
    return folder
