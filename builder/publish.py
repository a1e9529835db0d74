"""publish: pairs -> a dataset folder with its card, and the Hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builder import tables
from builder.health import measure
from builder.hub import card, dataset, folder, listing, origin, pictures, runs
from builder.hub.dataset import RATINGS, UNPROMPTED
from builder.hub.folder import CARD, PARAMETERS, STATS
from builder.hub.listing import Dataset, File
from builder.hub.push import push as send
from builder.hub.push import target
from builder.hub.runs import Run
from builder.hub.schemas import SCHEMAS
from builder.hub.split import split
from builder.params import Params


def run(
    folders: Sequence[Path], out: Path | None, params: Params, repo: str | None = None, push: bool = False,
    public: bool = False, schema: str = "preference",
) -> Dataset:  # fmt: skip
    """Write the dataset of all runs to ``out`` (default: the folder `dataset` in or above them); push it if asked to.

    Each run's pairs are a configuration; those without the text of their prompt are in ``unprompted``, every judgement
    is in ``ratings``. Raises WimError, in one clear line, for what cannot be published or pushed.
    """
    form, public = SCHEMAS[schema], public or params.publish.public
    for each in folders:
        ratings = tables.fingerprints({"ratings": tables.find(each, "ratings")})
        for name in dict.fromkeys(("pairs", form.table)):
            tables.check_made_from(tables.find(each, name), ratings, {"pairs": "pair"}.get(name, name))
    named = runs.named(folders)
    repo = target(repo or params.publish.repo, {each.arm for each in named}, push)
    out = out or folder.default(folders)
    folder.check(out)
    parted = split(sorted({tables.find(each, "prompts") for each in folders}), params.publish.test, params.embed)
    plans = dataset.planned(named, parted, form)
    folder.begin(out)
    configs = dataset.write(named, plans, out, parted, form, _about(named, schema))
    made = card.Made(
        named, configs, parted, schema,
        stats={each.label: measure.of_run(each.folder) for each in named},
        pictures=pictures.write(named, out), repo=repo, settings=params.publish,
    )  # fmt: skip
    files = _finish(out, made)
    pushed = send(out, list(files), repo, "dataset", runs.tag(named), public, folder.MADE) if push and repo else None
    rows = {config.name: {name: written.rows for name, written in config.splits.items()} for config in configs}
    total = {config.name: config.rows for config in configs}
    return Dataset(
        folder=str(out), files=files, repo=repo, public=public, notes=_notes(params), **listing.told(pushed),
        pairs=sum(config.rows for config in made.pairs),
        unprompted=total.get(UNPROMPTED, 0), ratings=total.get(RATINGS, 0), schema=schema,
        default=made.default.name if made.default else None, configs=rows, moved=parted.moved,
    )  # fmt: skip


def _about(named: Sequence[Run], schema: str) -> dict[str, Any]:
    names = dict.fromkeys(("pairs", "ratings", SCHEMAS[schema].table))
    files = {f"{name}{i}": tables.find(run.folder, name) for i, run in enumerate(named) for name in names}
    return tables.metadata("publish", {"schema": schema}, files)


def _finish(out: Path, made: card.Made) -> dict[str, File]:
    """Write statistics and, last, the card; remove what an earlier publication has left. All files there are now."""
    splits = [written for config in made.configs for written in config.splits.values()]
    rows = {name: File(size, count) for written in splits for name, (count, size) in written.files.items()}
    tables.write_json(out / STATS, {run.label: tables.read_json(run.folder / STATS) for run in made.runs})
    tables.write_json(out / PARAMETERS, {run.label: origin.parameters(run.folder) for run in made.runs})
    folder.prune(out, {*rows, *made.pictures})
    tables.write_text(out / CARD, card.card(made))
    return {name: File((out / name).stat().st_size) for name in (CARD, STATS, PARAMETERS, *made.pictures)} | rows


def _notes(params: Params) -> list[str]:
    languages = ", ".join(params.publish.language) or "none"
    return [
        f"the card says: licence {params.publish.license} (publish.license), language {languages} (publish.language)"
    ]
