"""A policy: a base model, with or without an adapter. As a folder: policy.json and the adapter."""

import json
from dataclasses import dataclass
from pathlib import Path

from builder import tables
from builder.errors import TableError
from builder.ids import file_sha256, fingerprint, sha256
from builder.language import models
from builder.params import Model

WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Policy:
    """``adapter``: a PEFT folder, or None for the base model itself."""

    model: str
    revision: str | None = None
    adapter: Path | None = None

    def hash(self) -> str:
        """16 hex digits of the content: equal weights give equal hashes, wherever they lie."""
        adapter = sha256(file_sha256(self.adapter / WEIGHTS) + _scaling(self.adapter)) if self.adapter else None
        return fingerprint({"model": models.identity(self.model, self.revision), "adapter": adapter})

    def base(self) -> tuple[str, str | None]:
        """The base model and its revision: policies of one base share an engine."""
        return self.model, self.revision

    def about(self) -> dict[str, str | None]:
        """What a table's metadata says of the policy: names and content, no paths."""
        return {"model": models.label(self.model), "revision": self.revision, "hash": self.hash()}


def _scaling(adapter: Path) -> str:
    config = tables.read_json(adapter / "adapter_config.json")
    return json.dumps([config.get(key) for key in ("r", "lora_alpha", "use_rslora", "use_dora")])


def base(model: Model) -> Policy:
    """The base model of the parameters."""
    return Policy(model.name, model.revision)


def read(folder: Path | None, model: Model) -> Policy:
    """The policy in ``folder``; None: the base model. Raises TableError if the folder holds none."""
    if folder is None:
        return base(model)
    if not (folder / "policy.json").is_file():
        raise TableError(f"{folder}: no policy.json: not a policy folder; `wim train dpo RUN` writes RUN/policy")
    entry = tables.read_json(folder / "policy.json")
    if not isinstance(entry, dict) or not isinstance(entry.get("model"), str):
        raise TableError(f"{folder / 'policy.json'}: must name its base model under 'model'")
    adapter = folder / entry["adapter"] if entry.get("adapter") else None
    if adapter and not (adapter / WEIGHTS).is_file():
        raise TableError(f"{adapter / WEIGHTS}: missing; adapters load from safetensors only")
    return Policy(entry["model"], entry.get("revision"), adapter)


def named(name: str) -> Policy:
    """The policy in a folder with policy.json; else the base model of this name or folder."""
    folder = Path(name)
    return read(folder, Model(name)) if (folder / "policy.json").is_file() else Policy(name)


def write(folder: Path, policy: Policy) -> None:
    """Write policy.json; an adapter must lie in ``folder`` or below it."""
    adapter = str(policy.adapter.relative_to(folder)) if policy.adapter else None
    tables.write_json(folder / "policy.json", {"model": policy.model, "revision": policy.revision, "adapter": adapter})
