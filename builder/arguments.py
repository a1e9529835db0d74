"""The arguments of the `wim` command."""

import argparse
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from builder import __version__, calls

STAGES = {
    "prompts": "sources -> prompts.parquet, heldout.parquet",
    "complete": "prompts + policy -> completions.parquet",
    "judge": "completions -> feedback.parquet",
    "embed": "texts -> embeddings.parquet",
    "rate": "feedback + vectors -> ratings.parquet",
    "pair": "ratings -> pairs.parquet + stats.json",
    "sft": "the best refinements, or chains of better and worse answers -> sft.parquet",
    "evaluate": "greedy completions of heldout.parquet, scored by the truth in reference",
}


def parser() -> argparse.ArgumentParser:
    """Of the whole command; a parsed command holds the function of builder/calls.py that does it."""
    made = argparse.ArgumentParser(prog="wim", description="Preference pairs from what is missing.", allow_abbrev=False)
    made.add_argument("--version", action="version", version=f"wim {__version__}")
    commands = made.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for stage, summary in STAGES.items():
        command = _command(commands, stage, summary, calls.stage)
        command.set_defaults(stage=stage)
        command.add_argument("run", type=Path, metavar="RUN", help="the folder that holds one round's tables")
        if stage in calls.WITH_POLICY:
            command.add_argument(
                "--policy", type=Path, metavar="FOLDER", help="default: the base model; evaluate: RUN/policy"
            )
        if stage == "judge":
            _add_batch(command)
        if stage == "complete":
            command.set_defaults(command=calls.complete)
            command.add_argument("--judge", action="store_true", help="then judge them, with the same engine in memory")
    _add_refine(commands)
    _add_imports(commands)
    _add_results(commands)
    clean = _command(commands, "clean", "what is kept under .wim/, and its removal on demand", calls.clean, False)
    clean.add_argument(
        "kind",
        nargs="*",
        metavar="KIND",
        help="remove rows of: complete, judge, refine, evaluate, embed, rate, train, remote",
    )
    clean.add_argument("--all", action="store_true", help="remove everything")
    clean.add_argument("--unused-for", type=float, metavar="DAYS", help="remove only what was not used for so long")
    clean.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    base = _command(commands, "base", "write a policy folder of the base model", calls.base)
    base.add_argument("folder", type=Path, metavar="FOLDER")
    train = _command(commands, "train", "train a policy or a reward model on a run, or merge an adapter", calls.train)
    train.add_argument("method", choices=["dpo", "kto", "sft", "reward", "online", "grpo", "ppo", "merge"])
    train.add_argument("run", type=Path, metavar="RUN")
    train.add_argument(
        "--policy",
        type=Path,
        metavar="FOLDER",
        help="train on from this policy (default: the base model); merge: default RUN/policy",
    )
    return made


def _add_batch(judge: argparse.ArgumentParser) -> None:
    judge.set_defaults(command=calls.judge)
    batch = judge.add_mutually_exclusive_group()
    batch.add_argument("--export", type=Path, metavar="FILE", help="write the requests for a batch service (JSONL)")
    batch.add_argument(
        "--import", type=Path, nargs="+", metavar="FILE", dest="results", help="read the results of a batch service"
    )
    judge.add_argument("--format", choices=["openai", "anthropic"], help="whose, for --export (default: openai)")


def _add_refine(commands: Any) -> None:
    summary = "the policy writes completions again, given what is missing -> completions.parquet of another run"
    refine = _command(commands, "refine", summary, calls.refine)
    refine.add_argument("run", type=Path, metavar="RUN", help="a run that is judged")
    refine.add_argument("--out", type=Path, metavar="RUN", help="of these and the refined ones; default: RUN/refined")
    refine.add_argument("--policy", type=Path, metavar="FOLDER", help="who writes; default: the base model")


def _add_imports(commands: Any) -> None:
    for name, summary, function in (
        ("ingest", "someone's completions and feedback -> the same tables", calls.ingest),
        ("build", "ingest, embed, rate, pair: a file of critiques becomes a dataset", calls.build),
    ):
        command = _command(commands, name, summary, function)
        command.add_argument(
            "file", type=Path, nargs="+", metavar="FILE", help="JSONL (also .gz), JSON, CSV or Parquet"
        )
        command.add_argument("--out", type=Path, required=True, metavar="RUN")
        command.add_argument("--map", action="append", default=[], metavar="OURS=THEIRS,...", help="rename columns")
        command.add_argument("--strict", action="store_true", help="stop at the first bad record")


def _add_results(commands: Any) -> None:
    stats = _command(commands, "stats", "tie statistics, accounting and health of runs", calls.stats)
    stats.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    stats.add_argument(
        "--embedder",
        metavar="NAME",
        help="rate a sample again with this embedder, and with what --set embed... says of it, and compare",
    )
    explain = _command(commands, "explain", "one pair, from its numbers back to the words", calls.explain)
    explain.add_argument("run", type=Path, metavar="RUN")
    explain.add_argument("--pair", metavar="ID", help="default: the pair with the largest delta")
    _add_publish(commands)
    winrate = _command(commands, "winrate", "how often the policy of one run is preferred to another's", calls.winrate)
    winrate.add_argument("a", type=Path, metavar="A", help="a run folder that `wim evaluate` has filled")
    winrate.add_argument("b", type=Path, metavar="B", nargs="?", help="default: the base model")
    winrate.add_argument("--truth", action="store_true", help="the evaluation's values decide, and no judge")
    _add_compare(commands)
    _add_audit(commands)
    _add_plan(commands)
    route = _command(commands, "route", "the labels that are least certain, for people to look at first", calls.route)
    route.add_argument("run", type=Path, metavar="RUN")
    route.add_argument("--truth", type=Path, metavar="FILE", help="show how much it brings to ask people about them")
    _add_themes(commands)
    _add_annotate(commands)
    evaluation = _command(
        commands, "eval", "standard benchmarks of a run's policy and of its base model", calls.benchmarks
    )
    evaluation.add_argument("run", type=Path, metavar="RUN")
    evaluation.add_argument("--policy", type=Path, metavar="FOLDER", help="default: RUN/policy, else the base model")
    report = _command(commands, "report", "one HTML page on runs", calls.report)
    report.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    report.add_argument("-o", "--out", type=Path, required=True, metavar="FILE")
    report.add_argument("--pairs", type=_count, default=500, metavar="N", help="show so many pairs (default: 500)")
    report.add_argument(
        "--embed", action="store_true", help="mark what is near in feedback by embed.model, not by words (slower)"
    )
    paper = _command(
        commands, "paper", "the paper's tables and figures from runs, beside the paper's numbers", calls.paper
    )
    paper.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="of several seeds, arms and rounds")
    paper.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="HTML; the numbers go beside it")


def _add_publish(commands: Any) -> None:
    publish = _command(commands, "publish", "pairs -> dataset folder, Hub; or an adapter", calls.publish)
    publish.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    publish.add_argument("--out", type=Path, metavar="FOLDER", help="default: dataset, in the run or above several")
    publish.add_argument("--repo", metavar="NAME", help="OWNER/NAME on the Hub; {arm} stands for the arm")
    sent = publish.add_mutually_exclusive_group()
    sent.add_argument("--dry-run", action="store_true", help="write and show the folder, send nothing (the default)")
    sent.add_argument("--push", action="store_true", help="send it to the Hub, and tag it")
    sent.add_argument("--push-if-set", action="store_true", help=argparse.SUPPRESS)  # the pipeline's way
    publish.add_argument("--public", action="store_true", help="a new repository is seen by everybody")
    schemas = ["preference", "ultrafeedback_binarized", "unpaired", "sft"]
    publish.add_argument("--schema", choices=schemas, help="the columns of the pairs (default: preference, as TRL's)")
    publish.add_argument("--adapter", action="store_true", help="not the pairs but the adapter of RUN/policy")


def _add_compare(commands: Any) -> None:
    compare = _command(commands, "compare", "which pairs of two runs or datasets differ, and why", calls.compare, False)
    for side in "ab":
        compare.add_argument(
            side,
            metavar=side.upper(),
            help="a run folder, or a dataset: a folder, OWNER/NAME[@REVISION]; :RUN names a run",
        )
    compare.add_argument("-o", "--out", type=Path, metavar="FILE", help="also an HTML page")
    compare.add_argument("--table", type=Path, metavar="FILE", help="also every pair with its fate, as Parquet")


def _count(text: str) -> int:
    """A number of things, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"takes a whole number from 0 on, not {text!r}")
    return int(text)


def _add_audit(commands: Any) -> None:
    audit = _command(commands, "audit", "do a run's ratings agree with people, or with gold ratings?", calls.audit)
    audit.add_argument("run", type=Path, metavar="RUN")
    audit.add_argument("--truth", type=Path, required=True, metavar="FILE", help="preferences or gold ratings")
    audit.add_argument("--embed", action="store_true", help="embed what ratings lack, with the model of embed.model")
    audit.add_argument("-o", "--out", type=Path, metavar="FILE", help="also an HTML page")
    audit.add_argument("--fit", action="store_true", help="choose rating, zeta and pair.min_gap; lines for params.yaml")
    wish = audit.add_mutually_exclusive_group()
    wish.add_argument("--agreement", type=float, metavar="SHARE", help="that --fit is to reach (default: 0.8)")
    wish.add_argument("--pairs", type=int, metavar="N", help="that --fit is to leave")


def _add_themes(commands: Any) -> None:
    themes = _command(commands, "themes", "what feedback asks for again and again, and what it decides", calls.themes)
    themes.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="of several rounds, to see what changes")
    themes.add_argument("--count", type=_count, metavar="N", help="how many themes; default: by the number of texts")
    themes.add_argument("--truth", type=Path, metavar="FILE", help="people's labels in place of the runs' pairs")


def _add_annotate(commands: Any) -> None:
    summary = "people write what is missing, or choose between two, on a local web page"
    annotate = _command(commands, "annotate", summary, calls.annotate)
    annotate.add_argument("run", type=Path, metavar="RUN")
    annotate.add_argument(
        "--mode", choices=["write", "choose"], help="default: write; for --export: what there is answers to"
    )
    annotate.add_argument("--annotator", metavar="NAME", help="who annotates; default: the page asks")
    annotate.add_argument("--db", type=Path, metavar="FILE", help="of the answers; default: RUN/annotations.sqlite")
    annotate.add_argument("--host", default="127.0.0.1", metavar="NAME", help="default: 127.0.0.1, this machine alone")
    annotate.add_argument("--port", type=int, default=8765, metavar="N", help="default: 8765; 0: any that is free")
    instead = annotate.add_mutually_exclusive_group()
    instead.add_argument("--export", type=Path, metavar="FILE", help="write the answers as JSONL, and serve nothing")
    instead.add_argument("--agreement", action="store_true", help="among the annotators and with the judges")


def _add_plan(commands: Any) -> None:
    plan = _command(commands, "plan", "how long a run will take, in how much memory and disk, at what cost", calls.plan)
    plan.add_argument("run", type=Path, nargs="?", metavar="RUN", help="a run to learn from: lengths, retries, sizes")
    plan.add_argument("--prompts", type=int, metavar="N", help="default: the run's, else those of prompts.source")
    plan.add_argument("--prompt-tokens", type=float, metavar="T", help="default: counted in a sample of these prompts")
    plan.add_argument("--gpus", type=int, default=1, metavar="N", help="default: 1")
    plan.add_argument(
        "--gpu-memory", type=float, metavar="GIB", help="of each GPU: what fits, and how many rows at a time"
    )
    plan.add_argument("--price", type=float, metavar="MONEY", help="of a GPU for an hour")
    plan.add_argument("--trial", type=float, metavar="SECONDS", help="measure the speed of the run's engines here")
    stages = "for complete and judge, or STAGE=N (also embed, train); repeatable"
    plan.add_argument(
        "--tokens-per-second", action="append", default=[], metavar="N", help=f"of one GPU, reading included; {stages}"
    )
    plan.add_argument(
        "--parameters",
        action="append",
        default=[],
        metavar="N",
        help="of the model, such as 8e9, if its config is not here",
    )
    shape = "LAYERS,KV_HEADS,HEAD_SIZE"
    plan.add_argument("--shape", action="append", default=[], metavar=shape, help="of the model, for keys and values")


def _command(
    commands: Any, name: str, summary: str, function: Callable[[Namespace], Any], parameters: bool = True
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    command.set_defaults(command=function)
    command.add_argument("--json", action="store_true", help="the result as one JSON object on stdout")
    command.add_argument("--debug", action="store_true", help="show a traceback")
    if not parameters:
        return command
    command.add_argument("--params", type=Path, metavar="FILE", help="default: params.yaml, else the built-in defaults")
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a parameter")
    command.add_argument("--arm", default="", metavar="NAME", help="whose block of the parameters counts")
    command.add_argument("--round", type=int, default=0, metavar="K")
    return command
