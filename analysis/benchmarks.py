"""`wim eval RUN`: standard benchmarks by lm-evaluation-harness, on the run's policy and on the model below it.

One model is in memory. Its adapter is on for the policy and off for the base model, so both answer the same
questions in the same batches, and their difference is paired by question.
"""

import contextlib
import difflib
import importlib
import logging
import os
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder import tables
from builder.errors import ParamsError, TableError, WimError
from builder.evaluate import bootstrap
from builder.language import models, policy
from builder.language.policy import Policy
from builder.params import Eval, Params
from builder.tables import first_line

Numbers = NDArray[np.float64]
INSTALL = "lm-eval is not installed: pip install -e '.[eval]'"
FILE = "benchmarks.json"
TOLD = {"version", "num_fewshot", "part_of_group"}
FIGURES = {"n", "value", "stderr", "base_value", "base_stderr", "difference", "difference_low", "difference_high"}
CUT = "some questions were longer than the model reads and lost their beginning: see truncated in benchmarks.json"


@dataclass(frozen=True)
class Score:
    """A task's figure under one metric, over ``n`` questions. ``questions``: the score of each; None where the figure
    is not their mean.
    """

    n: int
    value: float | None
    stderr: float | None
    questions: Numbers | None


@dataclass(frozen=True)
class Answers:
    """One pass over the tasks: scores by task and metric, what the harness says of each task, and if it cut any."""

    scores: dict[str, dict[str, Score]]
    about: dict[str, dict[str, Any]]
    truncated: bool


def run(folder: Path, params: Params, policy_folder: Path | None = None) -> dict[str, Any]:
    """Write benchmarks.json for RUN/policy, or the policy that is given, or else the base model.

    Raises WimError where a task is unknown, its data is out of reach, or it would run code that the model wrote.
    """
    own = folder / "policy"
    by = policy.read(policy_folder or (own if own.is_dir() else None), params.model)
    with _hushed():
        tasks = _load_tasks(params.eval)
    if policy_folder is None and not own.is_dir():  # told before the hours that it takes
        print(f"{own} does not exist: the base model is asked, and compared with nothing", file=sys.stderr)
    with _hushed() as cut:
        lm = _model(by, params.eval)
        answers = _answer(lm, tasks, params, cut)
        below = None
        if by.adapter:
            lm.model.disable_adapters()
            below = _answer(lm, tasks, params, cut)
    if answers.truncated:
        print(CUT, file=sys.stderr)
    result = summarise(answers, below, params.seed) | _about(by, params)
    tables.write_json(folder / FILE, result)
    return result


def known(run: Path) -> dict[str, Any] | None:
    """benchmarks.json of a run, None where it has none. Raises TableError if `wim eval` has not written it."""
    file = run / FILE
    if not file.is_file():
        return None
    said: dict[str, Any] = tables.read_json(file)
    if not _is_whole(said):
        raise TableError(f"{file}: not what `wim eval` writes; remove it, and run it again")
    return said


def _is_whole(said: Any) -> bool:
    """Whether all is there that a reader of benchmarks.json takes for granted."""
    try:
        tasks = said["tasks"].values()
        metrics = [found for task in tasks for found in task["metrics"].values()]
        parts = [({"settings", "truncated"}, said), *((TOLD, task) for task in tasks), *((FIGURES, m) for m in metrics)]
        return "limit" in said["settings"] and all(names <= part.keys() for names, part in parts)
    except (KeyError, TypeError, AttributeError):
        return False


def _about(by: Policy, params: Params) -> dict[str, Any]:
    import lm_eval

    settings = {key: value for key, value in vars(params.eval).items() if key not in ("tasks", "include")}
    below = Policy(by.model, by.revision).about() if by.adapter else None
    about = {"policy": by.about(), "base": below, "settings": settings, "seed": params.seed}
    return about | {"lm_eval": lm_eval.__version__}


@contextlib.contextmanager
def _hushed() -> Iterator[list[str]]:
    """The harness says nothing on stdout, and shows its bars on stderr only where that is a terminal.

    Gives the list that fills with its warnings of questions that it cuts.
    """
    cut: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        if "truncat" in record.getMessage().casefold():
            cut.append(record.getMessage())
        return False

    harness, model = logging.getLogger("lm_eval"), logging.getLogger("lm_eval.models.huggingface")
    before = harness.level, model.level
    harness.setLevel(logging.CRITICAL)
    model.setLevel(logging.WARNING)
    model.addFilter(keep)
    with contextlib.ExitStack() as stack:
        screen = sys.stderr if sys.stderr.isatty() else stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(contextlib.redirect_stdout(screen))
        stack.enter_context(contextlib.redirect_stderr(screen))
        try:
            _import()
            yield cut
        finally:
            model.removeFilter(keep)
            harness.setLevel(before[0])
            model.setLevel(before[1])


def _import() -> None:
    try:
        import datasets

        importlib.import_module("lm_eval.models.huggingface")
    except ModuleNotFoundError as error:
        raise WimError(INSTALL if str(error.name).startswith("lm_eval") else f"lm-eval lacks {error.name}") from error
    datasets.disable_progress_bars()
    # A standard error without a closed form is resampled by as many processes as there are cores; one is enough.
    os.environ.setdefault("DISABLE_MULTIPROC", "1")


def _load_tasks(settings: Eval) -> dict[str, Any]:
    """The tasks and groups in the harness' own mapping, their data loaded."""
    if not settings.tasks:
        raise ParamsError("eval.tasks is empty: name tasks of lm-eval, such as ifeval, or your own from eval.include")
    manager = _manager(settings)
    for name in settings.tasks:
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, manager.all_tasks, n=3, cutoff=0.5)
            known = f"; the nearest known: {', '.join(near)}" if near else ""
            raise ParamsError(f"eval.tasks: {name} is unknown to lm-eval" + known)
    built = [_load_task(manager, name) for name in _unnested(manager, settings.tasks)]
    try:
        loaded = manager.load(built)
    except ValueError as error:
        raise ParamsError(f"eval.tasks: {first_line(error)}") from error
    for name, task in loaded["tasks"].items():
        _check(name, task)
    mapping: dict[str, Any] = loaded
    return mapping


def _manager(settings: Eval) -> Any:
    """Who knows the tasks. The harness' own, of which there are thousands, are looked through only if needed."""
    from lm_eval.tasks import TaskManager

    if settings.include is None:
        return TaskManager()
    include = Path(settings.include)
    if not include.exists():
        raise ParamsError(f"eval.include: {include} does not exist")
    folder = include.parent if include.is_file() else include
    own = TaskManager(include_path=folder, include_defaults=False)
    return own if set(settings.tasks) <= set(own.all_tasks) else TaskManager(include_path=folder)


def _unnested(manager: Any, names: tuple[str, ...]) -> list[str]:
    """A tag's name as those of its tasks, each name once."""
    tagged = [sorted(manager.task_index[name].tags) if name in manager.all_tags else [name] for name in names]
    return list(dict.fromkeys(name for several in tagged for name in several))


def _load_task(manager: Any, name: str) -> Any:
    entry = manager.task_index[name]
    if (entry.cfg or {}).get("unsafe_code"):
        raise _unsafe(name)
    try:
        (loaded,) = _outermost(manager.load([name]))
    except ImportError as error:
        raise WimError(f"task {name} needs a package that is not installed: {first_line(error)}") from error
    except OSError as error:  # what `datasets` raises without a network, a file or the right to read
        raise WimError(f"task {name}: its data cannot be reached: {first_line(error)}") from error
    except Exception as error:  # a task is a plug-in: its YAML and its Python may fail in any way
        raise WimError(f"task {name} cannot be loaded: {type(error).__name__}: {first_line(error)}") from error
    return loaded


def _outermost(loaded: Mapping[str, Any]) -> list[Any]:
    """The task or group that was asked for, without what lies inside it."""
    inside = {child for children in loaded["group_map"].values() for child in children}
    return [item for name, item in (loaded["tasks"] | loaded["groups"]).items() if name not in inside]


def _check(name: str, task: Any) -> None:
    if getattr(task, "UNSAFE_CODE", False):
        raise _unsafe(name)
    if "ifeval" not in name:
        return
    import nltk

    try:  # without it the harness would fail at the scoring, hours later
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError as error:
        raise WimError(f"task {name} needs data of nltk: python -m nltk.downloader punkt_tab") from error


def _unsafe(name: str) -> WimError:
    return WimError(f"task {name} runs code that the model has written; wim does not run such tasks")


def _model(by: Policy, settings: Eval) -> Any:
    """The harness' view of a model that was loaded as everywhere else here: safetensors, no remote code."""
    from lm_eval.models.huggingface import HFLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    tokenizer, model = models.load(by.model, by.revision, settings.dtype)
    if by.adapter:
        models.add_adapter(model, by.adapter)
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=settings.batch_size)


def _answer(lm: Any, tasks: dict[str, Any], params: Params, cut: list[str]) -> Answers:
    """One pass. Raises WimError for whatever the harness or a task's code raises."""
    from lm_eval.evaluator import evaluate

    settings = params.eval
    _seed(params.seed)
    for task in tasks["tasks"].values():
        own = task.get_config("num_fewshot")
        if own is None or (settings.num_fewshot is not None and own != 0):  # 0 in a task's file says: never any
            task.set_config(key="num_fewshot", value=settings.num_fewshot or 0)
        task.set_fewshot_seed(params.seed)
    cut.clear()
    try:
        found = evaluate(
            lm,
            tasks,
            limit=settings.limit,
            bootstrap_iters=1000,
            apply_chat_template=settings.chat_template,
            fewshot_as_multiturn=settings.chat_template,
        )
    except Exception as error:
        raise WimError(f"lm-eval: {type(error).__name__}: {first_line(error)}") from error
    return _read(found, bool(cut))


def _seed(seed: int) -> None:
    """All that a task's code may draw from."""
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    with contextlib.suppress(ImportError):
        import langdetect  # of ifeval; guesses a language by chance

        langdetect.DetectorFactory.seed = seed


def _read(found: Any, truncated: bool) -> Answers:
    """What the harness has found, by task and metric; groups of tasks among them."""
    scores: dict[str, dict[str, Score]] = {}
    about: dict[str, dict[str, Any]] = {}
    inside = {child for children in found["group_subtasks"].values() for child in children}
    for task, entry in sorted(found["results"].items()):
        keys = sorted(key for key in entry if "," in key and "_stderr," not in key)
        if not keys:
            continue  # a group without a figure of its own
        leaves = _leaves(task, found["group_subtasks"])
        samples = [sample for leaf in leaves for sample in found["samples"][leaf]]
        shots = {found["n-shot"][leaf] for leaf in leaves}
        scores[task] = {key.removesuffix(",none"): _score(entry, key, samples) for key in keys}
        about[task] = {
            "version": str(found["versions"].get(task)),
            "num_fewshot": shots.pop() if len(shots) == 1 else None,
            "part_of_group": task in inside,
        }
    return Answers(scores, about, truncated)


def _leaves(task: str, groups: Mapping[str, list[str]]) -> list[str]:
    return [leaf for child in groups[task] for leaf in _leaves(child, groups)] if task in groups else [task]


def _score(entry: Mapping[str, Any], key: str, samples: list[dict[str, Any]]) -> Score:
    metric, _, kept = key.partition(",")
    rows = [sample[metric] for sample in samples if sample["filter"] == kept and metric in sample]
    value = _finite(entry[key])
    plain = bool(rows) and all(isinstance(row, (bool, int, float, np.number, np.bool_)) for row in rows)
    questions = np.array(rows, np.float64) if plain else None
    if questions is not None and (value is None or not np.isclose(questions.mean(), value)):
        questions = None
    return Score(len(rows), value, _finite(entry.get(f"{metric}_stderr,{kept}")), questions)


def _finite(value: Any) -> float | None:
    """A number of the harness, which writes "N/A" or NaN where it has none."""
    fine = isinstance(value, (int, float, np.number)) and np.isfinite(value)
    return float(value) if fine else None


def summarise(answers: Answers, below: Answers | None, seed: int) -> dict[str, Any]:
    """Figures by task and metric. The 95% interval of the difference is the bootstrap's over questions."""
    found: dict[str, Any] = {}
    for task, metrics in answers.scores.items():
        others = below.scores[task] if below else {}
        figures = {name: _compare(score, others.get(name), seed) for name, score in metrics.items()}
        found[task] = answers.about[task] | {"metrics": figures}
    return {"tasks": found, "truncated": answers.truncated or bool(below and below.truncated)}


def _compare(score: Score, base: Score | None, seed: int) -> dict[str, float | None]:
    result: dict[str, float | None] = {"n": score.n, "value": score.value, "stderr": score.stderr}
    result |= {"base_value": base.value if base else None, "base_stderr": base.stderr if base else None}
    result |= dict.fromkeys(("difference", "difference_low", "difference_high"))
    if base is None or score.value is None or base.value is None:
        return result
    result["difference"] = score.value - base.value
    if score.questions is not None and base.questions is not None and len(score.questions) == len(base.questions):
        low, high = bootstrap((score.questions - base.questions)[None], seed)[:, 0].tolist()
        result |= {"difference_low": low, "difference_high": high}
    return result


def text(result: Mapping[str, Any]) -> str:
    """A table of the tasks that are no part of a group; benchmarks.json has them all."""
    rows = [("task", "metric", "n", "shots", "policy", "base", "difference")]
    for task, entry in result["tasks"].items():
        if entry["part_of_group"]:
            continue
        for metric, found in entry["metrics"].items():
            shots = "" if entry["num_fewshot"] is None else str(entry["num_fewshot"])
            figures = (_figure(found["value"], found["stderr"]), _figure(found["base_value"], found["base_stderr"]))
            rows.append((task, metric, f"{found['n']:,}", shots, *figures, _difference(found)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _figure(value: float | None, stderr: float | None) -> str:
    return "" if value is None else f"{value:.4f}" + (f" ± {stderr:.4f}" if stderr is not None else "")


def _difference(found: Mapping[str, float | None]) -> str:
    if found["difference"] is None:
        return ""
    low, high = found["difference_low"], found["difference_high"]
    return f"{found['difference']:+.4f}" + ("" if low is None else f" [{low:+.4f}, {high:+.4f}]")
