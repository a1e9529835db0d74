"""How the runs were made, for the card: models, what differs between runs, all parameters, and the judge's prompt."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from builder.hub import origin
from builder.hub.origin import STAGES, Origin
from builder.hub.runs import Run

HASHES = (
    "In brackets: a hash of the weights and the adapter; of a model on the Hub, which keeps the weights, one of its "
    "name, its revision and the adapter."
)


def told(runs: Sequence[Run]) -> str:
    """Markdown."""
    origins = {run.config: origin.of_run(run.folder) for run in runs}
    return "\n\n".join([_table(origins), _parameters(origins), *_prompts(origins), _versions(origins)])


def _table(origins: Mapping[str, Origin]) -> str:
    head = "| configuration | completions by | judged by | rating | pairs |\n|---|---|---|---|---|\n"
    rows = "\n".join(_row(config, each) for config, each in origins.items())
    return f"{head}{rows}\n\n{HASHES}"


def _row(config: str, found: Origin) -> str:
    params, imported = found.params, "imported"
    rate, pair = params.get("rate", {}).get("rate", {}), params.get("pair", {}).get("pair", {})
    zeta = f", zeta {rate['zeta']:g}" if "zeta" in rate else ""
    pairs = f"{pair['strategy']}, a tie up to a gap of {pair['min_gap']:g} (ties: {pair['ties']})" if pair else "-"
    judges = "<br>".join(map(str, found.judges)) or imported
    completed = f"{found.policy or imported}" + (f"<br>refined by {found.refiner}" if found.refiner else "")
    return f"| {config} | {completed} | {judges} | {rate.get('method', '-')}{zeta} | {pairs} |"


def _parameters(origins: Mapping[str, Origin]) -> str:
    """Every stage's parameters as YAML, equal ones once."""
    import yaml

    parts = []
    for stage in STAGES.values():
        for params, configs in _alike((config, each.params.get(stage)) for config, each in origins.items()):
            whose = "" if len(configs) == len(origins) else f"  # {', '.join(configs)}"
            parts.append(f"{stage}:{whose}\n" + _indented(yaml.safe_dump(params, sort_keys=False, allow_unicode=True)))
    return (
        "Parameters by stage:\n\n```yaml\n" + "\n".join(parts) + "\n```" if parts else "The parameters are not known."
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines())


def _alike(values: Iterable[tuple[str, Any]]) -> list[tuple[Any, list[str]]]:
    """Distinct values, each with the names of those that have it; without what is not known."""
    found: list[tuple[Any, list[str]]] = []
    for name, value in values:
        known = next((names for other, names in found if other == value), None)
        if known is not None:
            known.append(name)
        elif value:
            found.append((value, [name]))
    return found


def _prompts(origins: Mapping[str, Origin]) -> list[str]:
    parts = []
    for prompts, configs in _alike((config, each.prompts) for config, each in origins.items()):
        whose = "" if len(configs) == len(origins) else f" ({', '.join(configs)})"
        parts += [f"The judge was asked{whose}:\n\n````text\n{prompt}\n````" for prompt in prompts]
    return parts or ["What the judge was asked is not known: the judgements were imported."]


def _versions(origins: Mapping[str, Origin]) -> str:
    versions = next((each.versions for each in origins.values() if each.versions), {})
    return "Versions: " + ", ".join(f"{name} {number}" for name, number in versions.items()) + "."
