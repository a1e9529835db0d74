"""What the pages of docs/ begin with: a checkout with small parameters, critiques, a truth, runs of two rounds."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from documented import ROOT

from builder import cli

ASKED = ("What does a {} do?", "Why do people like a {}?")
THINGS = "lighthouse glacier violin bakery submarine cactus telescope monastery tractor jellyfish carnival".split()
SAID = (
    ("It is a thing that many people know.", "The answer does not say what the {} is for.", 4),
    ("A {} has parts, and each of them has a use.", "There is no example of a {}, and no reason is given.", 6),
    ("A {} is known for its use: it serves people at work, in summer and in winter.", "", 9),
)
SMALL = {
    "prompts": {"source": "data/demo/prompts.jsonl", "heldout": "heldout.jsonl", "limit": 8},
    "complete": {"n": 2, "max_tokens": 96},
    "judge": {"attempts": 1, "max_tokens": 64},
    "train": {"max_steps": 1, "batch": 2, "device_batch": 2},
}
"""Of the blocks of params.yaml: few prompts, one step."""


def make(folder: Path) -> None:
    """Fill the working folder ``folder``."""
    for name in ("analysis", "configs", "data", "docs"):
        (folder / name).symlink_to(ROOT / name)
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    changed = {name: document.get(name, {}) | block for name, block in SMALL.items()}
    (folder / "params.yaml").write_text(yaml.safe_dump(document | changed, sort_keys=False))
    heldout = (ROOT / "data/demo/heldout.jsonl").read_text().splitlines(keepends=True)
    (folder / "heldout.jsonl").write_text("".join(heldout[:4]))
    given(folder)
    wim("build critiques.jsonl --out runs/mine")
    pipeline()
    write(folder / "truth.jsonl", truth(folder))
    for run in folder.glob("runs/*/[0-9]"):  # as `make experiment` leaves them
        shutil.copytree(run, folder / "experiment/42" / run.relative_to(folder))


def given(folder: Path) -> None:
    """The files that a page takes for granted: critiques by themselves, in two parts, and in another's columns."""
    said = critiques()
    write(folder / "critiques.jsonl", said)
    with gzip.open(folder / "a.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(each) + "\n" for each in said[::2])
    pl.DataFrame(said[1::2]).write_csv(folder / "b.csv", quote_style="non_numeric")
    theirs = {"completion": "response", "feedback": "critique"}
    write(folder / "theirs.jsonl", [{theirs.get(key, key): value for key, value in each.items()} for each in said])


def pipeline() -> None:
    """What `dvc repro` makes, as far as pages read it."""
    wim("prompts runs")
    for arm, rounds in {"wim": 2, "numerical": 2, "random": 1}.items():
        wim(f"base runs/{arm}/base/policy")
        for index in range(rounds):
            run, policy = f"runs/{arm}/{index}", f"runs/{arm}/{index - 1 if index else 'base'}/policy"
            of_round = f"{run} --arm {arm} --round {index}"
            for stage in ("complete", "judge"):
                wim(f"{stage} {of_round} --policy {policy}")
            for stage in ("embed", "rate", "pair"):
                wim(f"{stage} {of_round}")
            if rounds > 1:
                wim(f"train dpo {of_round} --policy {policy}")
                wim(f"evaluate {of_round}")


def wim(command: str) -> None:
    cli.main(command.split())


def critiques() -> list[dict[str, Any]]:
    """Twenty-two prompts of two completions."""
    asked_of = [(asked, thing) for thing in THINGS for asked in ASKED]
    return [
        {
            "prompt": asked.format(thing),
            "completion": completion.format(thing),
            "feedback": feedback.format(thing),
            "rating": rating,
        }
        for number, (asked, thing) in enumerate(asked_of)
        for completion, feedback, rating in (SAID[number % 3], SAID[(number + 1) % 3])
    ]


def truth(folder: Path) -> list[dict[str, Any]]:
    """Gold ratings of the critiques' completions, and of all that the runs have written: how much of it there is."""
    gold: list[dict[str, Any]] = [
        {"prompt": each["prompt"], "completion": each["completion"], "rating": len(each["completion"])}
        for each in critiques()
    ]
    written = pl.concat(pl.read_parquet(file) for file in sorted(folder.glob("runs/*/[0-9]/completions.parquet")))
    for prompt, completion in written.select("prompt_id", "text").unique(maintain_order=True).iter_rows():
        gold.append({"prompt_id": prompt, "completion": completion, "rating": len(completion)})
    return gold


def write(file: Path, records: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
