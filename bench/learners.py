"""Learners on the demo's model, from the same completions and the same words of the judge.

    python -m bench.learners [--only NAME...] [--seeds 3] [--steps 20] [--set KEY=VALUE...]

For each seed one run is completed and judged, and each learner starts from the base model and reads COMPLETIONS
completions a step, drawn from that run: pairs of the best and the worst of a prompt, lists of all four, or single
ones. `best_of` learns a reward model and no policy: of as many completions of a held-out prompt as the run has, by the
base model, the one of the highest reward counts. `cross_policy` has a run of its own: half of each prompt's completions
are the base model's, half those of the policy that `dpo` learned. `dpo_longer` takes as many steps as these two
together. Coverage is the share of the asked facts that a greedy completion of a held-out prompt holds; intervals are
95%, over prompts, of the mean over seeds.
"""

import argparse
import importlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import demo

FIRST = 42
"""The first seed; further ones follow it."""
COMPLETIONS = 32
"""That an optimiser step reads."""
PAIRS, LISTS, SINGLE = (f"train.batch={COMPLETIONS // each}" for each in (2, 4, 1))


@dataclass(frozen=True)
class Learner:
    """A file of train/, what it counts examples in, and its settings; ``longer``: times as many steps as others."""

    method: str
    unit: str
    sets: tuple[str, ...]
    longer: int = 1


LEARNERS = {
    "dpo": Learner("dpo", "pairs", (PAIRS,)),
    "dpo_longer": Learner("dpo", "pairs", (PAIRS,), longer=2),
    "cross_policy": Learner("dpo", "pairs", (PAIRS, "pair.strategy=cross_policy")),
    "lipo_lambda": Learner("dpo", "lists", (LISTS, "train.loss=lipo_lambda")),
    "pro": Learner("dpo", "lists", (LISTS, "train.loss=pro")),
    "kto": Learner("kto", "completions", (SINGLE,)),
    "sft": Learner("dpo", "pairs", (PAIRS, "train.loss=sft")),
    "hindsight": Learner("sft", "rows", (SINGLE, "sft.form=hindsight")),
    "best_of": Learner("reward", "pairs", (PAIRS, "reward.held_out=0")),
}
"""By the names under which they are shown; `sft` is the negative log-likelihood of the chosen ones alone."""


@dataclass(frozen=True)
class Learned:
    """``values``: coverage of each held-out prompt [prompts, 2], after the learning and before it.

    ``examples``: pairs, lists or completions that there were to learn from; ``seconds``: of the processor, to learn.
    """

    values: NDArray[np.float64]
    examples: int
    seconds: float


@dataclass(frozen=True)
class Round:
    """A seed's runs, each in a folder of its own: `start`, which all share, and one of each learner.

    ``sets``: parameters (KEY=VALUE) that hold for all.
    """

    folder: Path
    seed: int
    steps: int
    sets: Sequence[str]

    def given(self, *sets: str) -> Any:
        """The demo's parameters, with ``sets`` and those that hold for all."""
        return demo.settings(self.seed, *sets, *self.sets)


def of_seed(here: Round, names: Iterable[str]) -> dict[str, Learned]:
    """What each learner made of one run; `dpo` is always among them, and the first."""
    start = demo.sampled(here.folder / "start", here.given())
    demo.paired(start.folder, here.given())
    base = demo.evaluated(start.folder, here.given())[:, 0]
    print(f"seed {here.seed}: {start.tokens:,} tokens of completions, {start.judged:,} of judgements", flush=True)
    found: dict[str, Learned] = {}
    for name in LEARNERS:
        if name == "dpo" or name in names:
            found[name] = made = learned(here, name, base)
            mean = made.values[:, 0].mean()
            print(f"  {name:13} coverage {mean:.3f}, before {base.mean():.3f}; {made.seconds:.0f} s of CPU", flush=True)
    return found


def learned(here: Round, name: str, base: NDArray[np.float64]) -> Learned:
    """One learner; ``base``: coverage by the base model."""
    learner, run = LEARNERS[name], here.folder / name
    given = here.given(f"train.max_steps={here.steps * learner.longer}", *learner.sets)
    if name == "cross_policy":
        crossed(here, run)
    else:
        shutil.copytree(here.folder / "start", run)
    if name == "hindsight":
        from builder import sft

        sft.run(run, given)
    worked = time.process_time()
    made = importlib.import_module(f"train.{learner.method}").run(run, given)
    seconds = time.process_time() - worked
    values = chosen(here, run) if name == "best_of" else demo.evaluated(run, given)
    return Learned(np.column_stack([values[:, 0], base]), examples(made), seconds)


def crossed(here: Round, run: Path) -> None:
    """A judged run with pairs, of as many completions as the others, half of them by the policy that `dpo` learned."""
    both = (f"complete.n={here.given().complete.n // 2}", f"complete.also=[{here.folder / 'dpo/policy'}]")
    given = demo.settings(here.seed, *here.sets, *both, "pair.strategy=cross_policy")
    made = demo.sampled(run, given)
    demo.paired(run, given)
    print(f"  cross_policy: {made.tokens:,} tokens of completions, {made.judged:,} of judgements", flush=True)


def chosen(here: Round, run: Path) -> NDArray[np.float64]:
    """As ``demo.evaluated``, of the base model's best completions by the run's reward model."""
    best = (f"evaluate.best_by={run / 'reward'}", f"evaluate.n={here.given().complete.n}")
    values = demo.evaluated(run, here.given(*best))
    print(f"  best_of: by chance {demo.drawn(run):.3f}, the mean of all that were drawn", flush=True)
    return values


def examples(made: Any) -> int:
    """What there was to learn from, in the learner's own unit."""
    told = vars(made)
    names = ("pairs", "rows", "examples", "good", "bad")
    return sum(int(told[name]) for name in names if name in told)


def table(found: Mapping[str, Sequence[Learned]]) -> Iterator[str]:
    """A Markdown table, a row for each learner."""
    yield "| learner | examples | coverage after, by seed | rises by, 95% | between seeds | over `dpo`, 95% | CPU s |"
    yield "|---|---|---|---|---|---|---|"
    dpo = demo.after([each.values for each in found["dpo"]])
    for name, of_seeds in found.items():
        values = [each.values for each in of_seeds]
        after = demo.after(values)
        by_seed = after.mean(axis=0)
        spread = f"{by_seed.std(ddof=1):.3f}" if len(values) > 1 else ""
        over = "" if name == "dpo" else demo.interval(after - dpo)
        learned_from = ", ".join(f"{each.examples}" for each in of_seeds)
        shown = ", ".join(f"{mean:.3f}" for mean in by_seed)
        seconds = np.mean([each.seconds for each in of_seeds])
        rise = demo.interval(demo.rises(values))
        unit = LEARNERS[name].unit
        yield f"| `{name}` | {learned_from} {unit} | {shown} | {rise} | {spread} | {over} | {seconds:.0f} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(LEARNERS), default=list(LEARNERS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a parameter, for all of them")
    given = parser.parse_args(arguments)
    rounds, here = list[dict[str, Learned]](), Path.cwd()
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        try:
            for seed in range(FIRST, FIRST + given.seeds):
                rounds.append(of_seed(Round(Path(str(seed)), seed, given.steps, given.set), given.only))
        finally:
            os.chdir(here)
    print("", *table({name: [each[name] for each in rounds] for name in rounds[0]}), sep="\n")


if __name__ == "__main__":
    main()
