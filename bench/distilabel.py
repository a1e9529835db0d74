"""complete + judge against distilabel on the same engine and judge: whole processes, from the prompts to the tables.

distilabel runs each step in a process of its own and loads the engine in both; so `wim` is measured with one engine
and, on Ray, with as many.
"""

import json
import sys

from bench.figures import Figure, Measured
from bench.harness import ROOT, BenchError, Cost, Setup, cpus, empty_folder, ratio, run, turns, walls, wim
from bench.pipeline import MODEL, PROMPTS, ROWS, write_prompts

VENV = ROOT / ".bench/distilabel"
MODULE = "bench.against.distilabel_steps"


def measure(setup: Setup) -> Measured:
    rows = PROMPTS if setup.small else ROWS
    run(["make", "-s", "setup-distilabel", f"VENV={sys.prefix}"], ROOT)
    ways = {
        "distilabel": lambda: theirs(setup, rows),
        "wim, one engine": lambda: ours(setup, rows),
        "wim, two engines": lambda: ours(setup, rows, "engine.scale=ray", "engine.ray.actors=2"),
    }
    costs = turns(ways, setup.repeat)
    distilabel, one, two = costs.values()
    figures = [
        Figure("rows/s over distilabel, two engines each", ratio(walls(distilabel), walls(two)), at_least=1.2),
        Figure("rows/s over distilabel, one engine against its two", ratio(walls(distilabel), walls(one))),
        Figure("rows per CPU second over distilabel, one engine", ratio(cpus(distilabel), cpus(one))),
    ]
    speed = {f"rows/s, {way}": round(rows / min(walls(cost)), 1) for way, cost in costs.items()}
    settings = {"completions, each judged once": rows, "distilabel": version(), "turns": setup.repeat}
    return Measured(figures, settings | speed, costs)


def theirs(setup: Setup, rows: int) -> Cost:
    with empty_folder(setup) as folder:
        write_prompts(folder, PROMPTS)
        command = [VENV / "bin/python", "-m", MODULE, folder / "run/prompts.parquet", rows, folder]
        cost = run(command, folder, VIRTUAL_ENV=str(VENV))
    check(int(cost.output.splitlines()[-1]), rows)
    return cost


def ours(setup: Setup, rows: int, *more: str) -> Cost:
    with empty_folder(setup) as folder:
        write_prompts(folder, PROMPTS)
        sets = [f"complete.n={rows // PROMPTS}", "judge.attempts=1", f"model.name={MODEL}", *more]
        how = [word for each in sets for word in ("--set", each)]
        cost = run(wim("complete", "run", "--judge", "--json", "--params", ROOT / "params.yaml", *how), folder)
    check(json.loads(cost.output)["judge"]["judgements"], rows)
    return cost


def check(judged: int, rows: int) -> None:
    """Raises BenchError if not every row came out."""
    if judged != rows:
        raise BenchError(f"{judged:,} of {rows:,} rows were judged")


def version() -> str:
    """Of what is installed in the venv."""
    return next(VENV.glob("lib/*/site-packages/distilabel-*.dist-info")).name.split("-")[1].removesuffix(".dist")
