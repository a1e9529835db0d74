"""`wim embed` against SentenceTransformer.encode of the same texts: whole processes, that load the model."""

from functools import partial
from pathlib import Path

from bench.figures import Figure, Measured
from bench.harness import Cost, Setup, cpus, empty_folder, made, python, ratio, run, turns, walls, wim
from bench.tables import fresh_run

TEXTS, SMALL = 10_000, 120
SAME = 1e-5
"""Numbers of two vectors differ by no more."""
BOUNDS = {"float32": 1.15, "bfloat16": 2.5}


def measure(setup: Setup) -> Measured:
    count = SMALL if setup.small else TEXTS
    data = made(setup, "texts", count)
    with empty_folder(setup) as folder:
        theirs = folder / "theirs.npy"
        ways = {"encode": lambda: run(python("bench.against.encode", data / "run", theirs), folder)}
        ways |= {dtype: partial(embedded, data, setup, folder, dtype) for dtype in dtypes()}
        costs = turns(ways, setup.repeat)
        figures = []
        for dtype in dtypes():
            compared = python("bench.same", "vectors", folder / f"{dtype}.parquet", data / "run", theirs)
            apart = run(compared, folder).said()
            figures += of(dtype, costs, apart)
    speed = {f"texts/s, {way}": round(count / min(walls(cost)), 1) for way, cost in costs.items()}
    return Measured(figures, {"texts": count, "copies among them": "20%", "turns": setup.repeat} | speed, costs)


def of(dtype: str, costs: dict[str, list[Cost]], apart: dict[str, float]) -> list[Figure]:
    """Speed, and how far the vectors are from those of encode: a bound in float32 only."""
    bound, same = BOUNDS[dtype], SAME if dtype == "float32" else None
    faster = ratio(walls(costs["encode"]), walls(costs[dtype]))
    by_cpu = ratio(cpus(costs["encode"]), cpus(costs[dtype]))
    return [
        Figure(f"texts/s over encode, {dtype}", faster, at_least=bound),
        Figure(f"texts per CPU second over encode, {dtype}", by_cpu, guarded=dtype == "float32"),
        Figure(f"largest difference of two numbers from encode's, {dtype}", apart["difference"], "", at_most=same),
        Figure(f"largest 1 - cosine to encode's, {dtype}", apart["angle"], ""),
    ]


def dtypes() -> list[str]:
    """What `wim embed` can compute in; one that has no parameter for it computes in float32."""
    from dataclasses import fields

    from builder.params import Embed

    return list(BOUNDS) if "dtype" in {field.name for field in fields(Embed)} else ["float32"]


def embedded(data: Path, setup: Setup, out: Path, dtype: str) -> Cost:
    """`wim embed` where no row is kept from before; its table is left in ``out``."""
    with empty_folder(setup) as folder:
        copy = fresh_run(data, folder)
        how = [] if dtype == "float32" else ["--set", f"embed.dtype={dtype}"]
        cost = run(wim("embed", copy, *how), folder)
        (copy / "embeddings.parquet").rename(out / f"{dtype}.parquet")
    return cost
