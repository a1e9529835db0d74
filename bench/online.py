"""Learning in the loop on the demo's model: true coverage of held-out prompts before and after, and what it took.

    python bench/online.py [--only NAME...] [--steps N] [--seed 42]

Online DPO by the fixed judge, by the moving one, by the judge's number and, as the control, by chance; GRPO on the WIM
reward and on coverage itself. Coverage is the share of the asked facts that a greedy completion holds, with a 95%
interval; the difference is paired by prompt.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ALL = ("online.max_tokens=96", "grpo.max_tokens=96")
ONLINE = ("train.max_steps=60", "train.batch=16", "train.learning_rate=4e-4")
GRPO = ("train.batch=32", "train.learning_rate=1e-3")
LEARNERS = {
    "online-fixed": ("online", (*ONLINE, "judged_by=base")),
    "online-moving": ("online", (*ONLINE, "judged_by=current")),
    "online-numerical": ("online", (*ONLINE, "rate.method=numerical")),
    "online-random": ("online", (*ONLINE, "rate.method=random")),
    "grpo-wim": ("grpo", (*GRPO, "train.max_steps=40")),
    "grpo-coverage": ("grpo", (*GRPO, "train.max_steps=60", "grpo.verifier=coverage", "grpo.zeta=0")),
}


def learned(name: str, seed: int, steps: int | None) -> dict[str, Any]:
    """Figures of one learner, in the working directory."""
    from builder import evaluate, params, prompts
    from train import grpo, online

    method, sets = LEARNERS[name]
    sets = (f"seed={seed}", *ALL, *sets, *([f"train.max_steps={steps}"] if steps else []))
    given = params.load(ROOT / "params.yaml", sets)
    run = Path(name)
    run.mkdir()
    prompts.run(run, given)
    began, worked = time.perf_counter(), time.process_time()
    made = {"online": online, "grpo": grpo}[method].run(run, given)
    took = {"wall": time.perf_counter() - began, "cpu": time.process_time() - worked}
    asked = made.missing + made.nothing + made.unreadable
    readable = (made.missing + made.nothing) / asked if asked else float("nan")
    result: dict[str, Any] = vars(made) | took | {"readable": readable} | evaluate.run(run, given)
    return result


def line(name: str, made: dict[str, Any]) -> str:
    return (
        f"{name:16} {made['steps']:4d} {made['completions']:6,d} {made['readable']:8.1%} "
        f"{made['base_mean']:7.3f} {made['mean']:7.3f} [{made['low']:.3f}, {made['high']:.3f}] "
        f"{made['difference']:+.3f} [{made['difference_low']:+.3f}, {made['difference_high']:+.3f}] "
        f"{made['wall']:6.0f} {made['cpu']:6.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(LEARNERS), default=list(LEARNERS), metavar="NAME")
    parser.add_argument("--steps", type=int, help="default: as many as each learner needs")
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    print(
        "learner         steps  texts readable  before   after 95%             rises  95%               wall s  cpu s"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in arguments.only:
            print(line(name, learned(name, arguments.seed, arguments.steps)), flush=True)
        os.chdir(ROOT)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
