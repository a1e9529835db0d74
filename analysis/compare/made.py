"""How a run was made, by the parameters of its stages: as its own tables or parameters.json of a dataset tell them."""

from collections.abc import Mapping
from typing import Any

from analysis.compare import rules
from analysis.compare.side import Rule
from builder.params import Pair

Parameters = Mapping[str, Any]
"""Of one stage; empty where they are not known."""


def rule(pair: Parameters) -> Rule | None:
    """How the stage pair took its pairs."""
    if "pair" not in pair:
        return None
    known = {name: value for name, value in pair["pair"].items() if name in Pair.__dataclass_fields__}
    return Rule(Pair(**known), pair.get("seed", rules.SEED))


def rating(rate: Parameters) -> dict[str, Any] | None:
    """The rating of the stage rate, with its scale and its seed."""
    return {**rate["rate"], **rate["rating"], "seed": rate.get("seed")} if "rate" in rate else None


def settings(stage: str, params: Parameters, further: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """By dotted names. Blocks of parameters are named as in params.yaml, all else (``further`` too) after the stage.

    The engine's name is ``STAGE.engine.name``: ``judge.engine`` is a parameter of the judge.
    """
    told = {name: value for name, value in params.items() if name != "method"}  # rate.method again
    blocks = {name: value for name, value in told.items() if isinstance(value, Mapping)}
    others = {
        name: {"name": value} if name == "engine" else value for name, value in told.items() if name not in blocks
    }
    return _flat(blocks) | _flat({stage: others | dict(further or {})})


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: value}
    return {k: v for key, below in value.items() for k, v in _flat(below, f"{name}.{key}" if name else key).items()}
