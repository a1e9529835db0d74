"""The dataset card: the YAML that the Hub and `datasets` read, and what people should know before they train on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from builder import __version__, screen_health
from builder.health import limits
from builder.hub import audited, making, runs
from builder.hub.dataset import RATINGS, UNPROMPTED, Config
from builder.hub.folder import TAG
from builder.hub.markdown import plain
from builder.hub.runs import Run
from builder.hub.schemas import SCHEMAS
from builder.hub.split import TEST, TRAIN, Split
from builder.neighbours import NEAR
from builder.params import Publish

CARD = Path(__file__).with_name("dataset_card.md")
DEFAULT = "default"
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")
TAGS = {
    "preference": ["preference", "dpo", "trl"],
    "ultrafeedback_binarized": ["preference", "dpo"],
    "unpaired": ["kto", "trl"],
    "sft": ["sft", "trl"],
}
TRAINERS = {"preference": "DPO", "ultrafeedback_binarized": "DPO", "unpaired": "KTO", "sft": "SFT"}
SIDE = {
    UNPROMPTED: "pairs whose prompt is known by its id only: to be audited, not trained on",
    RATINGS: "every judgement: completion, feedback, number, cosine, and why it is not ratable if it is not",
}


@dataclass(frozen=True)
class Made:
    """What a card is about. ``stats``: stats.json by the run's label; ``pictures``: what each file shows."""

    runs: Sequence[Run]
    configs: Sequence[Config]
    split: Split
    schema: str
    stats: Mapping[str, Any]
    pictures: Mapping[str, str]
    repo: str | None
    settings: Publish

    @property
    def pairs(self) -> list[Config]:
        """The configurations to train on."""
        return [config for config in self.configs if config.name not in SIDE]

    @property
    def default(self) -> Config | None:
        """The one that is loaded where none is named."""
        name = runs.default(self.runs).config
        return next((config for config in self.pairs if config.name == name), next(iter(self.pairs), None))


def card(made: Made) -> str:
    """README.md. Raises WimError for an audit.json that cannot be read."""
    from huggingface_hub import DatasetCard, DatasetCardData

    data = DatasetCardData(**_data(made))
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{_body(made)}"))


def _data(made: Made) -> dict[str, Any]:
    from datasets.info import DatasetInfosDict

    read = _read(made)
    data: dict[str, Any] = {
        "pretty_name": _title(made),
        "license": made.settings.license,
        "language": list(made.settings.language),
        "task_categories": ["text-generation"],
        "size_categories": [size(sum(config.rows for config in made.configs if config.name != RATINGS))],
        "tags": [*TAGS[made.schema], TAG],
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": split, "path": f"{config.folder}/{split}-*"} for split in config.splits],
            }
            for name, config in read.items()
        ],
    }
    DatasetInfosDict({name: _info(name, config) for name, config in read.items()}).to_dataset_card_data(data)
    return data


def _read(made: Made) -> dict[str, Config]:
    """Configurations by the names under which they are read, the default first."""
    default = {DEFAULT: made.default} if made.default else {}
    return default | {config.name: config for config in made.configs}


def _info(name: str, config: Config) -> Any:
    from datasets import DatasetInfo, Features, SplitDict, SplitInfo

    splits = SplitDict()
    for split, written in config.splits.items():
        splits.add(SplitInfo(split, num_bytes=written.memory, num_examples=written.rows))
    return DatasetInfo(
        features=Features.from_arrow_schema(config.columns),
        config_name=name,
        splits=splits,
        download_size=sum(size for written in config.splits.values() for _, size in written.files.values()),
        dataset_size=sum(written.memory for written in config.splits.values()),
    )


def size(rows: int) -> str:
    """The Hub's name for a number of rows."""
    return SIZES[max(0, len(str(rows)) - 3)] if rows < 10**10 else "10B<n<100B"


def _title(made: Made) -> str:
    return (made.repo or "What-Is-Missing preference pairs").split("/")[-1]


def _body(made: Made) -> str:
    schema = SCHEMAS[made.schema] if made.pairs else SCHEMAS["preference"]
    return Template(CARD.read_text(encoding="utf-8")).substitute(
        title=_title(made),
        what=_what(made),
        load=_load(made),
        configs="\n".join(_config(name, config, made) for name, config in _read(made).items()),
        default=_default(made),
        columns="\n".join(f"| {names} | {what} |" for names, what in schema.meaning.items()),
        pictures="".join(f"![{what}]({file})\n\n" for file, what in made.pictures.items()),
        origin=making.told(made.runs),
        statistics=_statistics(made.stats),
        health=_health(made.stats),
        audit=audited.told(made.runs),
        splits=_splits(made),
        created=f"what-is-missing {__version__}",
    )


def _what(made: Made) -> str:
    pairs = f"{sum(summary['pairs'] for summary in made.stats.values()):,} chosen/rejected pairs"
    rows = sum(config.rows for config in made.pairs)
    told = {"unpaired": "completions, wanted or not, of", "sft": "completions to imitate, of a run with"}
    return f"{rows:,} {told[made.schema]} {pairs}" if made.schema in told else pairs


def _load(made: Made) -> str:
    """Three lines for TRL."""
    repo, lines = made.repo or "FOLDER", ["from datasets import load_dataset"]
    if not made.default:
        first = made.configs[0]
        split = TRAIN if TRAIN in first.splits else TEST
        return "\n".join([*lines, "", f'rows = load_dataset("{repo}", "{first.name}", split="{split}")'])
    trainer = TRAINERS[made.schema]
    without = '.remove_columns("prompt")' if made.schema == "ultrafeedback_binarized" else ""
    split = TRAIN if TRAIN in made.default.splits else TEST
    return "\n".join(
        [
            *lines,
            f"from trl import {trainer}Config, {trainer}Trainer",
            "",
            f'data = load_dataset("{repo}"){without}',
            f'trainer = {trainer}Trainer("NAME OF YOUR MODEL", args={trainer}Config(), train_dataset=data["{split}"])',
            "trainer.train()",
        ]
    )


def _config(name: str, config: Config, made: Made) -> str:
    counts = [f"{config.splits[split].rows:,}" if split in config.splits else "-" for split in (TRAIN, TEST)]
    run = next((run for run in made.runs if run.config == config.name), None)
    kind = "rows" if made.schema == "sft" else "pairs"
    what = f"the {kind} of {plain(run.label)}" if run else SIDE[config.name]
    return f"| {name} | {' | '.join(counts)} | {f'`{config.name}` again' if name == DEFAULT else what} |"


def _default(made: Made) -> str:
    if not made.default:
        bare = any(config.name == UNPROMPTED for config in made.configs)
        why = "No pair has the text of its prompt" if bare else "Every pair is a tie"
        return f"{why}, so that no configuration is there to train on."
    if len(made.pairs) == 1:
        return "`default` is the one run that there is."
    return (
        "`default` is the last round (of several arms the one named first), not the union: arms label the same "
        "completions against each other, and a round's pairs are samples of the policy that it trains."
    )


def _statistics(stats: Mapping[str, Any]) -> str:
    head = (
        "| run | method | judged pairs | ties | average delta | normalised | effect |\n|---|---|---|---|---|---|---|\n"
    )
    rows = []
    for run, entry in stats.items():
        for method, s in entry["methods"].items():
            rates = [f"{s['tie_rate']:.2%}"] if s["tie_rate"] is not None else ["-"]
            rates += [
                "-" if s[k] is None else f"{s[k]:.3f}" for k in ("average_delta", "normalised_delta", "effect_delta")
            ]
            rows.append(f"| {plain(run)} | {method} | {s['judged_pairs']:,} | {' | '.join(rates)} |")
    return head + "\n".join(rows)


def _health(stats: Mapping[str, Any]) -> str:
    """The figures of `wim stats` and its warnings."""
    rows = screen_health.rows(stats)
    warned = [f"- **Warning.** {plain(sentence)}" for sentence in limits.told(stats)]
    if not rows:
        return "Not measured."
    lines = [f"| {' | '.join([plain(row[0]), *row[2:]])} |" for row in rows]
    table = [lines[0], "|" + "---|" * (len(rows[0]) - 1), *lines[1:]]
    return "\n".join(
        [*table, "", screen_health.LEGEND + ".", "", *(warned or ["No limit is passed; that proves nothing."])]
    )


def _splits(made: Made) -> str:
    if made.split.test.is_empty():
        why = "near duplicates in `train`" if made.split.moved else "too few prompts"
        return "There is no split `test`." if not made.settings.test else f"There is no split `test`: {why}."
    moved = (
        f"; {made.split.moved:,} that it had drawn went to `train`, to their near duplicates"
        if made.split.moved
        else ""
    )
    return (
        f"{len(made.split.test):,} of {len(made.split.prompts):,} prompts are `test`, drawn by the hash of their ids"
        f"{moved}. A prompt is on one side in every configuration, and no prompt of `test` has a near duplicate (a "
        f"cosine of their embeddings of {NEAR} or more) in `train`."
    )
