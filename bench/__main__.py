"""python -m bench [NAME...]: measures, writes bench/results.json and the table in docs/benchmarks.md.

Each measurement stands in results.json as soon as it is done; --resume leaves out those that were done with this code.
"""

import argparse
import dataclasses
import importlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import page
from bench.figures import Figure, Measured, losses
from bench.harness import ROOT, BenchError, Setup
from bench.machine import code, machine, versions

NAMES = ("commands", "tables", "growth", "embed", "pipeline", "distilabel", "ingest", "training")
IN_SMALL = ("tables", "growth", "embed", "ingest")
"""Unless others are named: what the others import takes longer than what they measure."""
RESULTS, RECORDED = ROOT / "bench/results.json", ROOT / "bench/recorded.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 measured, whether or not bounds hold; 1 a program failed or, of the small run, a gross loss."""
    arguments = _arguments(argv)
    setup = Setup(arguments.work.absolute(), arguments.small, arguments.rows, arguments.repeat)
    if arguments.small:
        os.environ["OMP_NUM_THREADS"] = "1"  # threads that wait would count as computing
        return small(arguments.names or IN_SMALL, dataclasses.replace(setup, repeat=1), arguments.record)
    return full(arguments.names or NAMES, setup, arguments.resume, arguments.keep)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", type=_name, metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--small", action="store_true", help="a minute; fails on a gross loss, writes no results")
    parser.add_argument(
        "--record", action="store_true", help="with --small: keep its ratios as the measure of later ones"
    )
    parser.add_argument("--resume", action="store_true", help="leave out what is done")
    parser.add_argument("--rows", type=int, default=Setup.rows, help="of tables and growth (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=Setup.repeat, help="turns of each way (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench/work", help="where data is made: 4 kB a row")
    parser.add_argument("--keep", action="store_true", help="keep the data")
    return parser.parse_args(argv)


def _name(text: str) -> str:
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(NAMES)}")
    return text


def full(names: Sequence[str], setup: Setup, resume: bool, keep: bool) -> int:
    failed = []
    for name in names:
        results = _read(RESULTS)
        key = _key(name, setup)
        if resume and results.get(key, {}).get("code") == code():
            _say(f"{key}: done before")
            continue
        about = {"code": code(), "machine": machine(), "versions": versions()}
        began = time.monotonic()
        try:
            measured = _measure(name, setup)
        except BenchError as error:
            _say(f"{key}: {error}")
            failed.append(key)
            continue
        _show(key, measured.figures, time.monotonic() - began)
        _write(RESULTS, _read(RESULTS) | {key: measured.as_json() | about})
        page.write(_read(RESULTS))
    if not keep and not failed:
        shutil.rmtree(setup.work, ignore_errors=True)
    return 1 if failed else 0


def small(names: Sequence[str], setup: Setup, record: bool) -> int:
    """What looks like a loss is measured a second time before it counts. Bounds are for the full run."""
    lost = list[str]()
    for name in names:
        began, recorded = time.monotonic(), _read(RECORDED).get(name, {})
        try:
            figures = _guarded(name, setup)
            if record:
                _write(RECORDED, _read(RECORDED) | {name: {each.what: round(each.value, 3) for each in figures}})
            elif losses(figures, recorded):
                lost += losses(_guarded(name, setup), recorded)
        except BenchError as error:
            lost.append(f"{name}: {error}")
            continue
        _say(f"{name}, {time.monotonic() - began:.0f} s")
        for each in figures:
            _say(f"  {each.what}: {each.value:.3g}, recorded {recorded.get(each.what, 'never')}")
    shutil.rmtree(setup.work, ignore_errors=True)
    for line in lost:
        _say(f"a gross loss: {line}")
    return 1 if lost else 0


def _guarded(name: str, setup: Setup) -> list[Figure]:
    return [figure for figure in _measure(name, setup).figures if figure.guarded]


def _measure(name: str, setup: Setup) -> Measured:
    measured: Measured = importlib.import_module(f"bench.{name}").measure(setup)
    return measured


def _key(name: str, setup: Setup) -> str:
    """Another number of rows than the usual one is a result of its own."""
    usual = name not in ("tables", "growth") or setup.rows == Setup.rows
    return name if usual else f"{name} of {setup.rows:,}"


def _show(name: str, figures: Sequence[Figure], seconds: float) -> None:
    _say(f"{name}, {seconds:.0f} s")
    for figure in figures:
        _say("  " + "  ".join(cell for cell in page.cells(vars(figure) | {"holds": figure.holds}) if cell))


def _say(line: str) -> None:
    print(line, flush=True)


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return found


def _write(file: Path, results: dict[str, Any]) -> None:
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(results, indent=2) + "\n")
    os.replace(temporary, file)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
