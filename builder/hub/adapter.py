"""`wim publish RUN --adapter`: a run's adapter -> a model folder with its card, and the Hub."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from builder import __version__, tables
from builder.errors import WimError
from builder.hub import folder, listing, making, runs
from builder.hub.folder import CARD, TAG
from builder.hub.listing import File, Made
from builder.hub.push import push as send
from builder.hub.push import target
from builder.hub.runs import Run
from builder.language import models, policy
from builder.language.policy import WEIGHTS, Policy
from builder.params import Params

TEMPLATE = Path(__file__).with_name("adapter_card.md")
CONFIG = "adapter_config.json"
METHODS = {"train dpo": "DPO", "train online": "online DPO", "train grpo": "GRPO"}
TAGS = {"train dpo": ["dpo"], "train online": ["online-dpo"], "train grpo": ["grpo"]}


@dataclass(frozen=True)
class Trained:
    """An adapter and what is known of its training; ``base`` is the base model's public name, or None."""

    run: Run
    policy: Policy
    base: str | None
    about: Mapping[str, Any]
    losses: list[float]
    repo: str | None
    params: Params

    @property
    def named(self) -> str:
        """The base model for people."""
        return self.base or models.label(self.policy.model)

    @property
    def dataset(self) -> str | None:
        """The repository of the pairs."""
        repo = self.params.publish.repo
        return repo.replace("{arm}", self.run.arm) if repo and (self.run.arm or "{arm}" not in repo) else None

    @property
    def stage(self) -> str:
        """The command that trained it; empty where that is not recorded."""
        return str(self.about.get("stage", ""))


def run(run_folder: Path, out: Path | None, params: Params, repo: str | None = None, push: bool = False,
        public: bool = False) -> Made:  # fmt: skip
    """Write the adapter in RUN/policy and its card to ``out`` (default: RUN/adapter); push it if asked to.

    Raises WimError if the run has no adapter, and for what cannot be pushed.
    """
    public = public or params.publish.public
    (named,) = runs.named([run_folder])
    repo = target(repo, {named.arm}, push)
    trained = _trained(named, repo, params)
    out = out or run_folder / "adapter"
    folder.check(out)
    folder.begin(out)
    assert trained.policy.adapter
    config = tables.read_json(trained.policy.adapter / CONFIG)
    config |= {"base_model_name_or_path": trained.named, "revision": trained.policy.revision}
    tables.write_json(out / CONFIG, config)
    with tables.told(out / WEIGHTS):
        shutil.copyfile(trained.policy.adapter / WEIGHTS, out / WEIGHTS)
    tables.write_text(out / CARD, card(trained))
    files = {name: File((out / name).stat().st_size) for name in (CARD, CONFIG, WEIGHTS)}
    pushed = send(out, list(files), repo, "model", runs.tag([named]), public) if push and repo else None
    return Made(folder=str(out), files=files, repo=repo, public=public, notes=_notes(trained), **listing.told(pushed))


def _trained(named: Run, repo: str | None, params: Params) -> Trained:
    found = policy.read(named.folder / "policy", params.model)
    if not found.adapter:
        raise WimError(f"{named.folder / 'policy'}: is the base model itself, without an adapter to publish")
    local = Path(models.resolve(found.model)).is_dir() or Path(found.model).is_absolute()
    table = tables.path(named.folder, "training")
    about = tables.read_metadata(table) if table.is_file() else {}
    steps = tables.read(table, "training").filter(name="loss").sort("step")["value"].to_list() if about else []
    return Trained(
        named, found, params.publish.base_model or (None if local else found.model), about, steps, repo, params
    )


def card(trained: Trained) -> str:
    """README.md of the adapter."""
    from huggingface_hub import ModelCard, ModelCardData

    settings = trained.params.publish
    data = ModelCardData(
        base_model=trained.base,
        datasets=[trained.dataset] if trained.dataset else None,
        language=list(settings.language),
        library_name="peft",
        license=settings.license,
        model_name=_title(trained),
        pipeline_tag="text-generation",
        tags=["lora", *TAGS.get(trained.stage, []), "trl", TAG],
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_body(trained)}"))


def _title(trained: Trained) -> str:
    return (trained.repo or f"{trained.named}-{trained.run.config}").split("/")[-1]


def _body(trained: Trained) -> str:
    about, losses = trained.about, trained.losses
    versions = about.get("versions", {})
    start = about.get("start", {}).get("hash")
    paired = tables.path(trained.run.folder, "pairs").is_file()
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=_title(trained),
        repo=trained.repo or "FOLDER",
        base=f"`{trained.named}`",
        revision=f"`{trained.policy.revision}`" if trained.policy.revision else "not pinned",
        dataset=_dataset(trained),
        start=f"the policy {start}" if start else "-",
        steps=f"{len(losses):,}",
        loss=f"{losses[0]:.4f}, {losses[-1]:.4f}" if losses else "-",
        evaluation=_evaluation(trained.run.folder),
        stage=METHODS.get(trained.stage, trained.stage or "a training that is not recorded"),
        versions=", ".join(
            f"{name} {versions[name]}" for name in ("trl", "peft", "transformers", "torch") if name in versions
        ),
        parameters=_yaml(about.get("params", {})),
        origin=making.told([trained.run]) if paired else "There are none: it was judged while it learned.",
        created=f"what-is-missing {__version__}",
    )


def _dataset(trained: Trained) -> str:
    """The dataset, by its name and by the fingerprint of the pairs."""
    pairs = trained.about.get("inputs", {}).get("pairs")
    named = f"`{trained.dataset}`, " if trained.dataset else ""
    return f"{named}{trained.run.label}" + (f" (pairs {pairs})" if pairs else "")


def _evaluation(run: Path) -> str:
    file = run / "evaluation.json"
    found = tables.read_json(file) if file.is_file() else {"n": 0}
    if not found["n"]:
        return ""
    interval = f"{found['difference_low']:+.1%} to {found['difference_high']:+.1%}"
    told = f"{found['mean']:.1%}, base model {found['base_mean']:.1%} (difference {interval}, n {found['n']:,})"
    return f"| coverage of the held-out truth | {told} |\n"


def _yaml(params: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(params), sort_keys=False, allow_unicode=True)).rstrip()


def _notes(trained: Trained) -> list[str]:
    if trained.base:
        return []
    told = f"the base model {trained.named} is a folder of this machine: nobody else can load the adapter"
    return [f"{told} unless publish.base_model gives its name on the Hub"]
