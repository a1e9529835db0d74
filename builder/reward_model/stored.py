"""reward.json, the part of a stored reward model that people read; the weights lie beside it as a PEFT adapter."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder import tables
from builder.errors import TableError
from builder.ids import fingerprint
from builder.language import models
from builder.language.policy import WEIGHTS, Policy
from builder.params.blocks import as_dict

NAME = "reward.json"


@dataclass(frozen=True)
class Stored:
    """``model``, ``revision``: the base. ``grades``: 0 without thresholds; ``grades_from`` and the ``cuts`` of delta
    that made them (builder.params.Reward), and the learned ``thresholds``. ``aspects``: names, each with the ``mean``
    and ``std`` of the numbers that its head predicts in standard units. ``max_prompt``, ``max_completion``: in tokens.
    """

    model: str
    revision: str | None
    loss: str
    max_prompt: int | None
    max_completion: int
    grades: int = 0
    grades_from: str | None = None
    cuts: tuple[float, ...] | None = None
    thresholds: tuple[float, ...] | None = None
    aspects: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def write(folder: Path, stored: Stored) -> None:
    """Write reward.json."""
    tables.write_json(folder / NAME, as_dict(stored))


def read(folder: Path) -> Stored:
    """What ``folder`` holds. Raises TableError if that is no reward model of ours."""
    if not (folder / NAME).is_file():
        raise TableError(f"{folder}: no {NAME}: not a reward model; `wim train reward RUN` writes RUN/reward")
    if not (folder / WEIGHTS).is_file():
        raise TableError(f"{folder / WEIGHTS}: missing; reward models load from safetensors only")
    entry = tables.read_json(folder / NAME)
    try:
        return Stored(**{name: _plain(value) for name, value in entry.items()})
    except (AttributeError, TypeError) as error:
        raise TableError(f"{folder / NAME}: is not what `wim train reward` writes: {error}") from error


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def identity(folder: Path) -> dict[str, Any]:
    """What tells two reward models apart, wherever they lie: no path is in it."""
    stored = read(folder)
    weights = Policy(stored.model, stored.revision, folder).hash()
    return {
        "model": models.label(stored.model),
        "revision": stored.revision,
        "loss": stored.loss,
        "hash": fingerprint({"weights": weights, "read": [stored.max_prompt, stored.max_completion]}),
    }
