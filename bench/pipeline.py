"""What complete and judge add to an engine: their rows/s against the bare engine's, and memory by rows.

Both ways give the same requests to the same engine. Times begin with the loaded engine; of the bare one only its own
work counts. Resumption is on: rows are keyed, kept in parts, and read back. Two processes differ by more than what is
looked for where the machine has other work, so the stages also say how much of their own time their engine took.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench.against import clock
from bench.figures import Figure, Measured
from bench.harness import ROOT, BenchError, Cost, Setup, cpus, empty_folder, python, ratio, run, turns, walls, wim

MODEL = ROOT / "data/demo/model"
PROMPTS = 200
ROWS, SMALL = 2_000, 48
MEMORY = (1_000, 100_000)
"""Completions by the echo engine, which costs nothing."""


def measure(setup: Setup) -> Measured:
    rows = SMALL if setup.small else ROWS
    engines = ["transformers"] + ["vllm"] * (not setup.small and importlib.util.find_spec("vllm") is not None)
    costs: dict[str, list[Cost]] = {}
    figures = []
    for engine in engines:
        ways = {f"{engine}, {way}": partial(child, setup, way, engine, rows) for way in ("bare", "stages")}
        found = turns(ways, setup.repeat)
        bare, stages = found.values()
        if engine == "transformers":
            check_same(bare + stages)
        shares = [cost.said()["engine"] / cost.said()["wall"] for cost in stages]
        figures += [
            Figure(f"share of the stages' seconds in {engine}", median(shares), "", at_least=0.95),
            Figure(f"rows/s over the bare {engine}", ratio(walls(bare), walls(stages)), at_least=0.95),
            Figure(f"rows per CPU second over the bare {engine}", ratio(cpus(bare), cpus(stages)), guarded=True),
        ]
        costs |= found
    if not setup.small:
        few, many = (child(setup, "stages", "echo", count) for count in MEMORY)
        figures.append(Figure(f"peak memory of {MEMORY[1]:,} rows over that of {MEMORY[0]:,}", many.peak / few.peak))
        costs |= {f"echo, {count:,} rows": [cost] for count, cost in zip(MEMORY, (few, many), strict=True)}
    return Measured(figures, {"completions, each judged once": rows, "turns": setup.repeat}, costs)


def child(setup: Setup, way: str, engine: str, rows: int) -> Cost:
    """Seconds as the child has taken them, in an empty folder: those of its start are left out."""
    with empty_folder(setup) as folder:
        write_prompts(folder, rows // 4 if engine == "echo" else min(PROMPTS, rows))
        cost = run(python("bench.pipeline", way, engine, rows), folder)
    said = cost.said()
    return Cost(said["wall"], said["cpu"], cost.peak, cost.output)


def check_same(costs: Iterable[Cost]) -> None:
    """Raises BenchError unless every way has generated as many tokens: in float64 a text depends on its seed alone."""
    tokens = {cost.said()["tokens"] for cost in costs}
    if len(tokens) != 1:
        raise BenchError(f"the ways have generated different numbers of tokens: {sorted(tokens)}")


def write_prompts(folder: Path, count: int) -> None:
    """The demo's prompts or, if there are not so many, numbered ones; in the run's prompts.parquet."""
    source = ROOT / "data/demo/prompts.jsonl"
    if count > PROMPTS:
        source = folder / "prompts.jsonl"
        words = "what it is made of, where it is found and what it is used for "
        lines = (json.dumps({"prompt": f"Describe thing number {i}: {words * (1 + i % 5)}"}) for i in range(count))
        source.write_text("\n".join(lines))
    sets = (f"prompts.source={source}", f"prompts.limit={count}", "prompts.heldout=null")
    run(wim("prompts", "run", *(word for each in sets for word in ("--set", each))), folder)


def settings(engine: str, rows: int) -> Any:
    """The demo's, but for the counts: a judgement is not asked for again, so that both ways ask as much."""
    from builder import params

    count = 4 if engine == "echo" else max(1, rows // PROMPTS)
    sets = [f"engine.name={engine}", f"complete.n={count}", "judge.attempts=1", f"model.name={MODEL}"]
    return params.load(ROOT / "params.yaml", sets)


def bare(engine: str, rows: int) -> None:
    """The engine with all requests of both stages, and nothing else."""
    from builder import complete, ids, plugins, tables
    from builder.engines import Request
    from builder.judging import asking, panel
    from builder.language import policy

    given = settings(engine, rows)
    by = policy.base(given.model)
    loaded: Any = plugins.load("engines", engine).Engine(given, [by])
    judge = panel.single(given, "the bench asks")
    prompts = tables.read(Path("run/prompts.parquet"), "prompts", ["prompt_id", "messages"]).sort("prompt_id")
    plan = complete.planned(prompts["prompt_id"], given.complete.n).sort("row")
    requests = list(complete.requests([prompts], by, given))
    started = clock.start()
    answers = dict(loaded.generate(requests))
    paused = clock.start()
    how = asking.sampling(judge, given, 0)
    questions = [
        Request(tuple(judge.messages(request.messages, answers[i].text)), by, ids.seed_of(given.seed, name, 0), how)
        for i, (name, request) in enumerate(zip(plan["completion_id"], requests, strict=True))
        if answers[i].text.strip()
    ]
    resumed = clock.start()
    judged = dict(loaded.generate(questions))
    tokens = sum(answer.tokens for each in (answers, judged) for answer in each.values())
    clock.tell((started[0] + resumed[0] - paused[0], started[1] + resumed[1] - paused[1]), tokens=tokens)


def stages(engine: str, rows: int) -> None:
    """The stages, from the prompts table to the tables of completions and feedback."""
    from builder import complete, generate, judge
    from builder.language import policy

    given = settings(engine, rows)
    source = generate.Lazy(given, [policy.base(given.model)])
    source.engine = timed = Timed(source.module.Engine(given, source.policies))
    started = clock.start()
    made = complete.run(Path("run"), given, source=source), judge.run(Path("run"), given, source=source)
    clock.tell(started, tokens=sum(each.usage["tokens"] for each in made), engine=timed.seconds)


class Timed:
    """An engine, and the seconds that it works: those until an answer is there, less those until a request is."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.seconds = engine, 0.0

    def generate(self, requests: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        yield from self._counted(self.engine.generate(self._counted(requests, -1)), 1)

    def _counted(self, items: Iterable[Any], sign: int) -> Iterator[Any]:
        following = iter(items)
        while True:
            began = time.perf_counter()
            item = next(following, self)
            self.seconds += sign * (time.perf_counter() - began)
            if item is self:
                return
            yield item


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=["bare", "stages"])
    parser.add_argument("engine")
    parser.add_argument("rows", type=int)
    arguments = parser.parse_args()
    {"bare": bare, "stages": stages}[arguments.way](arguments.engine, arguments.rows)


if __name__ == "__main__":
    main()
