"""How the rows of a run were made, as its tables say: models, revisions, parameters, and the judge's prompt."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder import tables
from builder.errors import WimError
from builder.hub.markdown import code
from builder.judges import compares
from builder.judging import panel
from builder.params import Judge, Params, Rating
from builder.params.blocks import build
from builder.tables import find

STAGES = {
    "completions": "complete", "feedback": "judge", "embeddings": "embed", "ratings": "rate", "pairs": "pair",
    "sft": "sft",
}  # fmt: skip
REFINED = "refine"
"""The stage that adds to what was completed, and keeps what was said of it."""
REQUEST, ANSWER = "{the prompt}", "{the completion}"


@dataclass(frozen=True)
class Model:
    """A language model as a table names it; ``content`` is a hash of its weights and adapter."""

    name: str
    revision: str | None
    content: str

    def __str__(self) -> str:
        named = code(self.name) + (f" at {code(self.revision)}" if self.revision else "")
        return f"{named} ({self.content})"


@dataclass(frozen=True)
class Origin:
    """``params``: the parameters by stage; ``policy``, ``judges`` and ``prompts`` are empty for an import.

    ``refiner``: who wrote completions again, if anybody did.
    """

    params: dict[str, Any]
    policy: Model | None
    refiner: Model | None
    judges: list[Model]
    prompts: list[str]
    versions: dict[str, str]


def of_run(folder: Path) -> Origin:
    """What the tables of a run say; what was made by others says nothing."""
    made = _made(folder)
    feedback = made.get("feedback", {})
    jury = feedback.get("jury") or ([feedback] if feedback else [])
    params = parameters(folder)
    completed = made.get("completions", {})
    policy, refiner = completed.get("policy"), completed.get("refined_by", {}).get("policy")
    return Origin(
        params,
        _model(policy) if policy else None,
        _model(refiner) if refiner else None,
        [_model(each["policy"]) for each in jury],
        list(dict.fromkeys(_prompts(params))),
        made.get("pairs", {}).get("versions", {}),
    )


def parameters(folder: Path) -> dict[str, Any]:
    """By stage, without those that were not run here."""
    return {STAGES[name]: about["params"] for name, about in _made(folder).items()}


def _made(folder: Path) -> dict[str, dict[str, Any]]:
    """What each table says of its making, if it was made by its stage."""
    said = {name: tables.read_metadata(find(folder, name)) for name in STAGES if tables.path(folder, name).is_file()}
    stages = {name: (stage, REFINED) if name == "completions" else (stage,) for name, stage in STAGES.items()}
    return {name: about for name, about in said.items() if about.get("stage") in stages[name]}


def _model(about: Mapping[str, Any]) -> Model:
    return Model(about["model"], about["revision"], about["hash"])


def _prompts(params: Mapping[str, Any]) -> Iterator[str]:
    """What each judge was told, with placeholders for the texts; none of a judge that is not installed here."""
    if "judge" not in params:
        return
    scale = {key: params["rate"]["rating"][key] for key in ("scale", "rescale")} if "rate" in params else {}
    try:
        settings, rating = build(Judge, params["judge"]["judge"], "judge."), build(Rating, scale, "rating.")
        assert isinstance(settings, Judge)
        assert isinstance(rating, Rating)
        for juror in settings.jurors():
            judge = panel.load(Params(judge=juror, rating=rating))
            request = [{"role": "user", "content": REQUEST}]
            told = judge.messages(request, ANSWER, ANSWER) if compares(judge) else judge.messages(request, ANSWER)  # type: ignore[arg-type]
            yield "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in told)
    except WimError:
        return
