"""Refinement on the demo's model: what it does to completions, and to a round that learns from them.

    python -m bench.refine [--only NAME...] [--seeds 42 43 44] [--steps 20]

First the true coverage of completions before and after they are written again by data/demo/refiner; and, as the
control, after they are written again by the feedback on another one. Then rounds from the same prompts: `samples` has
as many completions for each prompt as can be generated with the tokens that `refined` takes for its completions and
refinements together. `imitation` and `hindsight` learn from the tables of `refined` by SFT. Coverage is the share of
the asked facts that a greedy completion of a held-out prompt holds; intervals are 95%, over prompts, of the mean over
seeds.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench import demo
from bench.demo import ROOT, Run

REFINER = ROOT / "data/demo/refiner"
FEW = 2
"""Completions of a prompt that are refined."""
SFT = {"imitation": "train.learning_rate=4e-4", "hindsight": "train.learning_rate=4e-4"}
LEARNERS = ("samples", "refined", *SFT)


def settings(seed: int, *sets: str) -> Any:
    """The demo's parameters, with refinements that are as long as completions."""
    return demo.settings(seed, "refine.max_tokens=96", *sets)


def refined(start: Run, seed: int) -> Run:
    """The completions of ``start`` and their refinements, judged."""
    from builder import judge, refine

    given = settings(seed)
    made = refine.run(start.folder, given, policy_folder=REFINER)
    folder = start.folder / "refined"
    judged = judge.run(folder, given).usage["tokens"]
    return Run(folder, start.tokens + int(made.usage["tokens"]), int(judged))


def misled(start: Run, seed: int) -> Path:
    """Refinements by the feedback on another prompt's completion."""
    from builder import refine, tables

    folder = start.folder.with_name("misled")
    folder.mkdir()
    feedback = tables.read(start.folder / "feedback.parquet", "feedback")
    missing = pl.col("wim_status") == "missing"
    texts = feedback.filter(missing)["wim"]
    drawn = texts.shuffle(seed)
    feedback = pl.concat([feedback.filter(missing).with_columns(wim=drawn), feedback.filter(~missing)])
    for name in ("prompts", "completions"):
        (folder / f"{name}.parquet").write_bytes((start.folder / f"{name}.parquet").read_bytes())
    tables.write(folder / "feedback.parquet", "feedback", feedback.sort("completion_id", "judge", "attempt"), {})
    refine.run(folder, settings(seed), policy_folder=REFINER)
    return folder / "refined"


def covered(folder: Path) -> pl.DataFrame:
    """For each refinement of a run: prompt_id, coverage ``before`` and ``after``, how many of its sentences hold."""
    from builder import evaluate, tables
    from builder import refined as origins

    texts = dict(pl.read_parquet(folder / "completions.parquet", columns=["completion_id", "text"]).iter_rows())
    prompts = tables.read(tables.find(folder, "prompts"), "prompts", ["prompt_id", "reference"])
    facts = dict(prompts.iter_rows())
    rows = []
    for row in origins.read(folder).iter_rows(named=True):
        prompt = row["completion_id"].rsplit("-", 1)[0]
        before, after = texts[row["refined_from"]], texts[row["completion_id"]]
        share = [evaluate.coverage(text, facts[prompt]) for text in (before, after)]
        said = len(facts[prompt].splitlines()) * share[1]
        rows.append((prompt, *share, said / max(1, after.count("."))))
    return pl.DataFrame(rows, schema=["prompt_id", "before", "after", "right"], orient="row")


def learned(name: str, run: Run, seed: int, steps: int) -> NDArray[np.float64]:
    """Coverage of each held-out prompt [prompts, 2], after the learning and before it."""
    from builder import sft
    from train import dpo
    from train import sft as imitate

    given = settings(seed, f"train.max_steps={steps}", *([SFT[name], f"sft.form={name}"] if name in SFT else []))
    demo.paired(run.folder, given)
    if name in SFT:
        sft.run(run.folder, given)
    (imitate if name in SFT else dpo).run(run.folder, given)
    return demo.evaluated(run.folder, given)


def by_prompt(frame: pl.DataFrame) -> str:
    of = frame.group_by("prompt_id").agg((pl.col("after") - pl.col("before")).mean().alias("gain")).sort("prompt_id")
    means = frame.select("before", "after", "right").mean().row(0)
    return "{:6.3f} {:6.3f}  {}  {:6.1%}".format(means[0], means[1], demo.interval(of["gain"].to_numpy()), means[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(LEARNERS), default=list(LEARNERS), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    found: dict[str, demo.Covered] = {name: [] for name in arguments.only}
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        for seed in arguments.seeds:
            of_seed(seed, arguments, found)
        os.chdir(ROOT)
    print("\nlearner        rises  95%                       over samples  95%")
    for name, values in found.items():
        over = ""
        if name != "samples" and "samples" in found:
            over = demo.interval(demo.after(values) - demo.after(found["samples"]))
        print(f"{name:12} {demo.interval(demo.rises(values))}   {over}", flush=True)


def of_seed(seed: int, arguments: argparse.Namespace, found: dict[str, demo.Covered]) -> None:
    worked = time.process_time()
    few = demo.sampled(Path(f"{seed}/few"), settings(seed, f"complete.n={FEW}"))
    some = refined(few, seed)
    print(f"seed {seed}          before  after   rises  95%                    right", flush=True)
    print(f"  refined       {by_prompt(covered(some.folder))}", flush=True)
    print(f"  misled        {by_prompt(covered(misled(few, seed)))}", flush=True)
    n = round(FEW * some.tokens / few.tokens)
    many = demo.sampled(Path(f"{seed}/many"), settings(seed, f"complete.n={n}"))
    for name, each in (("samples", many), ("refined", some)):
        print(f"  {name}: {each.tokens:,} tokens generated, {each.judged:,} of judgements", flush=True)
    print(f"  samples has {n} completions of a prompt, refined {FEW} and their refinements", flush=True)
    for name in arguments.only:
        values = learned(name, many if name == "samples" else some, seed, arguments.steps)
        found[name].append(values)
        print(f"  {name:12} coverage {values[:, 0].mean():.3f}, before {values[:, 1].mean():.3f}", flush=True)
    print(f"  {time.process_time() - worked:.0f} s of CPU time", flush=True)


if __name__ == "__main__":
    main()
