"""The losses of a reward model on graded preferences: python -m bench.reward [DATA...] [--seeds 20] [--shares ...]

It prints held-out accuracy, likelihood of the preference and of the grade, calibration and rank correlation of each
loss, the differences from Bradley-Terry, and how they go with the share of the prompts that are learned from. A seed is
a split; all losses get the same. Intervals are 95%, over seeds (bench/reward/summary.py). Vectors and judgements are
kept under --work, and the numbers of each seed in DATA.parquet there; --resume goes on from these. `lora` is `wim train
reward` itself in the demo's world, at the share 1.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from bench.harness import ROOT
from bench.reward import compare, demo, lora, real, summary
from bench.reward.graded import Graded

PUBLISHED: dict[str, Callable[[int | None], Graded]] = {
    "wildbench": real.wildbench,
    "prometheus": real.prometheus,
    "mt_bench": real.mt_bench,
    "qa_feedback": real.qa_feedback,
}
DATA: dict[str, Callable[[int | None], Graded]] = {
    **PUBLISHED,
    "demo_number": demo.by_number,
    "demo_wim": demo.by_wim,
}
LORA = "lora"
SHARES = (0.1, 0.25, 0.5, 1.0)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = _arguments(argv)
    arguments.work.mkdir(parents=True, exist_ok=True)
    before = Path.cwd()
    os.chdir(arguments.work)  # builder keeps vectors, completions and judgements under the working directory
    try:
        found = [_measured(name, arguments) for name in arguments.data]
    finally:
        os.chdir(before)
    print(summary.tables(summary.summary(pl.concat(found))))


def _measured(name: str, arguments: argparse.Namespace) -> pl.DataFrame:
    """Rows of compare.Row of all seeds, those kept from before included; ``data`` is their name."""
    file, began, data = Path(f"{name}.parquet"), time.process_time(), None
    kept = [pl.read_parquet(file)] if arguments.resume and file.is_file() else []
    done = {seed for rows in kept for seed in rows["seed"]}
    for seed in sorted(set(range(arguments.seeds)) - done):
        if name == LORA:
            rows = list(lora.compared(seed, arguments.steps, arguments.limit))
        else:
            data = data or DATA[name](arguments.limit)
            rows = list(compare.compared(data, seed, arguments.shares))
        kept.append(pl.DataFrame(rows, orient="row").with_columns(data=pl.lit(name)))
        pl.concat(kept).write_parquet(file)
        print(f"{name}: seed {seed}, {time.process_time() - began:.0f} s of CPU time", file=sys.stderr, flush=True)
    return pl.concat(kept).filter(pl.col("seed") < arguments.seeds, pl.col("measure") != "penalty")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.reward", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*DATA, LORA]
    parser.add_argument("data", nargs="*", default=names, metavar="DATA", help=f"of {', '.join(names)}")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--steps", type=int, default=60, help="of lora")
    parser.add_argument("--limit", type=int, help="so many prompts of each")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench/reward")
    parser.add_argument("--resume", action="store_true", help="keep the seeds that are done")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.data) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: none of {', '.join(names)}")
    if not real.DATA.is_dir() and set(arguments.data) & set(PUBLISHED):
        parser.error(f"{real.DATA} is not there: name some of {', '.join(n for n in names if n not in PUBLISHED)}")
    return arguments


if __name__ == "__main__":
    main()
