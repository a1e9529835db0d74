"""A policy: a base model, with or without an adapter. As a folder: policy.json and the adapter."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder import tables
from builder.errors import TableError
from builder.ids import file_sha256, fingerprint, sha256
from builder.params import Model

ROOT = Path(__file__).parent.parent
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
        return fingerprint({"model": model_identity(self.model, self.revision), "adapter": adapter})


def _scaling(adapter: Path) -> str:
    config = tables.read_json(adapter / "adapter_config.json")
    return json.dumps([config.get(key) for key in ("r", "lora_alpha", "use_rslora", "use_dora")])


def resolve_model(name: str) -> str:
    """A model's name on the Hub, or its folder; what ships with the project is found from anywhere."""
    shipped = ROOT / name
    return str(shipped) if not Path(name).exists() and shipped.is_dir() else name


def model_label(name: str) -> str:
    """A model's name for a table's metadata, in which no path may stand."""
    folder = Path(resolve_model(name))
    return folder.name if folder.is_dir() else name


def model_identity(name: str, revision: str | None) -> dict[str, Any]:
    """What tells two models apart: the content of a folder, or the name and revision on the Hub."""
    folder = Path(resolve_model(name))
    if not folder.is_dir():
        return {"name": name, "revision": revision}
    kinds = (".json", ".safetensors", ".jinja")
    files = sorted(file for file in folder.iterdir() if file.suffix in kinds)
    return {"files": {file.name: file_sha256(file)[:32] for file in files}}


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
    adapter = folder / entry["adapter"] if entry.get("adapter") else None
    if adapter and not (adapter / WEIGHTS).is_file():
        raise TableError(f"{adapter / WEIGHTS}: missing; adapters load from safetensors only")
    return Policy(entry["model"], entry.get("revision"), adapter)


def write(folder: Path, policy: Policy) -> None:
    """Write policy.json; an adapter must lie in ``folder`` or below it."""
    adapter = str(policy.adapter.relative_to(folder)) if policy.adapter else None
    tables.write_json(folder / "policy.json", {"model": policy.model, "revision": policy.revision, "adapter": adapter})
