"""`wim ingest` of JSON lines, which checks, groups and writes tables, against polars' reader, which reads."""

from bench.figures import Figure, Measured
from bench.harness import Cost, Setup, cpus, empty_folder, made, python, ratio, run, turns, walls, wim

RECORDS, SMALL = 200_000, 10_000


def measure(setup: Setup) -> Measured:
    count = SMALL if setup.small else RECORDS
    file = made(setup, "records", count) / "records.jsonl"

    def ours() -> Cost:
        with empty_folder(setup) as folder:
            return run(wim("ingest", file, "--out", folder / "run"), folder)

    def polars() -> Cost:
        return run(python("bench.against.polars_json", file), setup.work)

    costs = turns({"polars.read_ndjson": polars, "wim ingest": ours}, setup.repeat)
    theirs, wims = costs.values()
    megabytes = file.stat().st_size / 1e6
    figures = [
        Figure("MB/s over polars' reader", ratio(walls(theirs), walls(wims)), at_least=0.5),
        Figure("MB per CPU second over polars' reader", ratio(cpus(theirs), cpus(wims)), guarded=True),
    ]
    speed = {f"MB/s, {way}": round(megabytes / min(walls(cost)), 1) for way, cost in costs.items()}
    return Measured(figures, {"MB": round(megabytes), "records": count, "turns": setup.repeat} | speed, costs)
