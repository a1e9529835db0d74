"""What each `wim` command calls.

Stages are named as text and imported when they are called, so that `wim --help` is quick and no command loads what it
does not need. A function takes the parsed arguments and gives the result; ``arguments.text`` says how it is shown.
"""

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from builder.errors import UsageError

WITH_POLICY = ("complete", "judge", "evaluate")


def _call(name: str, *arguments: Any, **options: Any) -> Any:
    """``_call("builder.embed:run", ...)`` imports and calls."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)(*arguments, **options)


def _params(arguments: Namespace) -> Any:
    default = Path("params.yaml")
    file = arguments.params or (default if default.is_file() else None)
    if file and arguments.arm and arguments.arm not in _call("builder.params:arms", file):
        print(f"{file} has no block arm.{arguments.arm}: the name is a label, nothing more", file=sys.stderr)
    return _call("builder.params:load", file, arguments.set, arguments.arm, arguments.round)


def stage(arguments: Namespace) -> Any:
    arguments.run.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {}
    if arguments.stage in WITH_POLICY:
        options = {"policy_folder": arguments.policy}
    if arguments.stage == "pair":
        options = {"arm": arguments.arm, "round_index": arguments.round}
        arguments.text = lambda stats: _call("builder.screen:table", {str(arguments.run): stats})
    return _call(f"builder.{arguments.stage}:run", arguments.run, _params(arguments), **options)


def complete(arguments: Namespace) -> Any:
    if not arguments.judge:
        return stage(arguments)
    arguments.run.mkdir(parents=True, exist_ok=True)
    return _call("builder.together:run", arguments.run, _params(arguments), arguments.policy)


def judge(arguments: Namespace) -> Any:
    if arguments.format and not arguments.export:
        raise UsageError("--format goes with --export")
    if not arguments.export and not arguments.results:
        return stage(arguments)
    if arguments.policy:
        raise UsageError("a batch service judges with judge.model; --policy goes with neither --export nor --import")
    if arguments.export:
        form = arguments.format or "openai"
        result = _call("builder.judging.batch:export", arguments.run, _params(arguments), arguments.export, form)
    else:
        result = _call("builder.judging.batch:import_results", arguments.run, _params(arguments), arguments.results)
    arguments.text = lambda _: _call("builder.judging.batch:text", result)
    return result


def refine(arguments: Namespace) -> Any:
    return _call("builder.refine:run", arguments.run, _params(arguments), arguments.out, arguments.policy)


def ingest(arguments: Namespace) -> Any:
    arguments.out.mkdir(parents=True, exist_ok=True)
    columns = dict(_renaming(entry) for text in arguments.map for entry in text.split(","))
    return _call("builder.ingest:run", arguments.file, arguments.out, _params(arguments), columns, arguments.strict)


def _renaming(entry: str) -> tuple[str, str]:
    ours, equals, theirs = entry.partition("=")
    if not equals or not ours.strip() or not theirs.strip():
        raise UsageError(f"--map takes OURS=THEIRS, not {entry!r}")
    return ours.strip(), theirs.strip()


def build(arguments: Namespace) -> Any:
    account = ingest(arguments)
    print(
        "ingest: " + ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in vars(account).items()), file=sys.stderr
    )
    params = _params(arguments)
    for stage in ("embed", "rate"):
        _call(f"builder.{stage}:run", arguments.out, params)
    stats = _call("builder.pair:run", arguments.out, params, arguments.arm, arguments.round)
    arguments.text = lambda stats: _call("builder.screen:table", {str(arguments.out): stats})
    return stats


def stats(arguments: Namespace) -> Any:
    if arguments.embedder:
        other = _call("builder.params:load", None, [*arguments.set, f"embed.model={json.dumps(arguments.embedder)}"])
        for run in arguments.runs:
            _call("builder.health.sensitivity:run", run, other.embed)
    read = {str(run): _call("builder.health.measure:of_run", run) for run in arguments.runs}
    files = {run: Path(run) / "evaluation.json" for run in read}
    evaluated = {run: _call("builder.tables:read_json", file) for run, file in files.items() if file.is_file()}
    evaluated = {run: result for run, result in evaluated.items() if result["n"]}
    arguments.text = lambda stats: _call("builder.screen:page", stats, evaluated)
    return read


def explain(arguments: Namespace) -> Any:
    arguments.text = lambda pair: _call("builder.explain:text", pair)
    return _call("builder.explain:run", arguments.run, arguments.pair)


def publish(arguments: Namespace) -> Any:
    params = _params(arguments)
    push = arguments.push or (arguments.push_if_set and params.publish.repo is not None)
    given = (arguments.out, params, arguments.repo, push, arguments.public)
    if arguments.adapter:
        if len(arguments.runs) > 1 or arguments.schema:
            raise UsageError("--adapter publishes the adapter of one run, and has no --schema")
        result = _call("builder.hub.adapter:run", arguments.runs[0], *given)
    else:
        result = _call("builder.publish:run", arguments.runs, *given, arguments.schema or "preference")
    arguments.text = lambda _: _call("builder.hub.listing:text", result)
    return result


def base(arguments: Namespace) -> Any:
    base = _call("builder.language.policy:base", _params(arguments).model)
    _call("builder.language.policy:write", arguments.folder, base)
    return {"policy": str(arguments.folder)}


def train(arguments: Namespace) -> Any:
    if arguments.method == "ppo":
        raise UsageError("PPO has left TRL, and there is no loop of our own: take `wim train grpo` (or its rloo)")
    arguments.run.mkdir(parents=True, exist_ok=True)
    given = (arguments.run, _params(arguments), arguments.policy)
    return _call("train.running.launch:run", f"train.{arguments.method}", given, arguments.words)


def report(arguments: Namespace) -> Any:
    given = (arguments.runs, arguments.out, _params(arguments), arguments.pairs, arguments.embed)
    return _call("analysis.report.assemble:run", *given)


def paper(arguments: Namespace) -> Any:
    arguments.text = lambda result: _call("analysis.paper.assemble:text", result)
    return _call("analysis.paper.assemble:run", arguments.runs, arguments.out)


def audit(arguments: Namespace) -> Any:
    wish = {"agreement": arguments.agreement, "pairs": arguments.pairs}
    if not arguments.fit and any(value is not None for value in wish.values()):
        raise UsageError("--agreement and --pairs say what --fit is to reach: they go with --fit")
    wanted = _call("analysis.audit.fit:wanted", **wish) if arguments.fit else None
    given = (arguments.run, arguments.truth, _params(arguments), arguments.embed, wanted, arguments.out)
    arguments.text = lambda result: _call("analysis.audit.screen:text", result)
    return _call("analysis.audit.assemble:run", *given)


def route(arguments: Namespace) -> Any:
    arguments.text = lambda result: _call("analysis.route:text", result)
    return _call("analysis.route:run", arguments.run, _params(arguments), arguments.truth)


def themes(arguments: Namespace) -> Any:
    arguments.text = lambda result: _call("analysis.themes.screen:text", result)
    given = (arguments.runs, _params(arguments), arguments.count, arguments.truth)
    return _call("analysis.themes.assemble:run", *given)


def annotate(arguments: Namespace) -> Any:
    if arguments.agreement:
        arguments.text = lambda result: _call("analysis.annotate.screen:text", result)
        return _call("analysis.annotate.agreement:run", arguments.run, _params(arguments), arguments.db)
    if arguments.export:
        return _call("analysis.annotate.export:run", arguments.run, arguments.db, arguments.export, arguments.mode)
    given = (arguments.mode, arguments.annotator, arguments.db, arguments.host, arguments.port)
    return _call("analysis.annotate.serve:run", arguments.run, _params(arguments), *given)


def compare(arguments: Namespace) -> Any:
    arguments.text = lambda result: _call("analysis.compare.screen:text", result)
    return _call("analysis.compare.assemble:run", arguments.a, arguments.b, arguments.out, arguments.table)


def winrate(arguments: Namespace) -> Any:
    result = _call("analysis.winrate:run", arguments.a, arguments.b, _params(arguments), arguments.truth)
    arguments.text = lambda _: _call("analysis.winrate:text", result)
    return result


def benchmarks(arguments: Namespace) -> Any:
    arguments.run.mkdir(parents=True, exist_ok=True)
    arguments.text = lambda result: _call("analysis.benchmarks:text", result)
    return _call("analysis.benchmarks:run", arguments.run, _params(arguments), arguments.policy)


def plan(arguments: Namespace) -> Any:
    given = _call(
        "analysis.plan.given:given", arguments.prompts, arguments.prompt_tokens, arguments.gpus, arguments.gpu_memory,
        arguments.price, arguments.trial, arguments.tokens_per_second, arguments.parameters, arguments.shape,
    )  # fmt: skip
    arguments.text = lambda result: _call("analysis.plan.screen:text", result)
    return _call("analysis.plan.assemble:run", arguments.run, _params(arguments), given)


def clean(arguments: Namespace) -> Any:
    result = _call("builder.clean:run", arguments.kind, arguments.all, arguments.unused_for, arguments.dry_run)
    arguments.text = lambda _: _call("builder.clean:text", result)
    return result
