"""The block ``judge`` of params.yaml: who judges, in which words, and by which criteria."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from builder.errors import ParamsError
from builder.params.blocks import build, read_yaml, require

GRADES = (1, 5)
"""The scale of a rubric's criteria."""


@dataclass(frozen=True)
class Contrastive:
    """Contrastive search (Su et al., 2022): the paper's judge uses alpha 0.6 and k 4."""

    alpha: float = 0.6
    k: int = 4

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 1, "judge.contrastive.alpha", "between 0 and 1", self.alpha)
        require(self.k >= 1, "judge.contrastive.k", "at least 1", self.k)


@dataclass(frozen=True)
class Aspects:
    """``preset``: whose aspects; ``weights``: other weights than the preset's, by the aspect's name."""

    preset: Literal["ultrafeedback", "helpsteer"] = "ultrafeedback"
    weights: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            fine = isinstance(weight, (int, float)) and not isinstance(weight, bool)
            require(fine, f"judge.aspects.weights.{name}", "a number", weight)


@dataclass(frozen=True)
class Criterion:
    """``anchors``: what some of the grades 1 to 5 stand for. A negative weight counts a low grade as good."""

    name: str
    question: str = ""
    weight: float = 1.0
    anchors: dict[Any, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        fine = re.fullmatch(r"[^\W\d_](?:[ -]?\w){0,39}", self.name) is not None
        require(fine, "judge.rubric: name", "a letter and up to 39 more letters, digits, - _ or blanks", self.name)
        require(self.plain not in ("wim", "rating"), "judge.rubric: name", "another word than the format's", self.name)
        for grade, meaning in self.anchors.items():
            where = f"judge.rubric: {self.name}.anchors"
            fine = isinstance(grade, int) and GRADES[0] <= grade <= GRADES[1]
            require(fine, where, f"known by whole numbers from {GRADES[0]} to {GRADES[1]}", grade)
            require(isinstance(meaning, str) and bool(meaning.strip()), f"{where}.{grade}", "a text", meaning)

    @property
    def plain(self) -> str:
        """The name as it is compared with others: case, blanks, - and _ are one."""
        return re.sub(r"[ _-]+", " ", self.name).casefold()


@dataclass(frozen=True)
class Compare:
    """Which completions of a prompt are compared: at most ``limit`` pairs, or all with the one of index ``against``.

    ``tie``: whether a verdict may be one; ``grades``: how many verdicts ``likert`` has, 5 or 7, without a tie 4 or 6.
    """

    limit: int = 6
    against: int | None = None
    tie: bool = True
    grades: int | None = None

    def __post_init__(self) -> None:
        require(self.limit >= 1, "judge.compare.limit", "at least 1", self.limit)
        require(self.against is None or self.against >= 0, "judge.compare.against", "null or an index", self.against)
        kinds, how = ((5, 7), "with") if self.tie else ((4, 6), "without")
        fine = self.grades is None or self.grades in kinds
        require(fine, "judge.compare.grades", f"{kinds[0]} or {kinds[1]} {how} a tie", self.grades)


OWN = {
    "wording": ("wim",),
    "aspects": ("aspects",),
    "rubric": ("rubric",),
    "missing": ("aspects", "rubric"),
    "compare": ("pairwise", "likert"),
}
"""Parameters of one judge, or of some: by which names these are called."""
SHIPPED = ("wim", "aspects", "rubric", "pairwise", "likert")


@dataclass(frozen=True)
class Judge:
    """``attempts``: how often an unreadable answer is asked for; from attempt 1 on at ``retry_temperature``.

    ``missing``: whether a judge of aspects or of a rubric also says what is missing. ``jury``: several judges, each a
    block like this one, which is laid over the rest of it; ``label`` is then the judge's name in the tables.
    """

    name: str = "wim"
    model: str | None = None
    engine: str | None = None
    attempts: int = 2
    temperature: float = 0.0
    retry_temperature: float = 0.7
    max_tokens: int = 256
    contrastive: Contrastive | None = None
    structured: bool = False
    wording: str = "default"
    aspects: Aspects | None = None
    rubric: tuple[Criterion, ...] | str = ()
    missing: bool = True
    compare: Compare | None = None
    label: str | None = None
    jury: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        require(1 <= self.attempts <= 100, "judge.attempts", "between 1 and 100", self.attempts)
        require(self.max_tokens >= 1, "judge.max_tokens", "at least 1", self.max_tokens)
        for name in ("temperature", "retry_temperature"):
            value = getattr(self, name)
            require(0 <= value < 100, f"judge.{name}", "at least 0 and below 100", value)
        if isinstance(self.rubric, str):
            object.__setattr__(self, "rubric", _read_rubric(Path(self.rubric)))
        names = [criterion.plain for criterion in self.criteria]
        require(len(set(names)) == len(names), "judge.rubric", "criteria of different names", names)
        self._check_own({str(juror.get("name", self.name)) for juror in self.jury} or {self.name})
        self.jurors()

    def _check_own(self, asked: set[str]) -> None:
        """A parameter that no judge of these reads is an error: it would change nothing. Judges of one's own may."""
        if not asked <= set(SHIPPED):
            return
        default = {field.name: field.default for field in dataclasses.fields(self)}
        for key, owners in OWN.items():
            if not asked & set(owners) and getattr(self, key) != default[key]:
                names = " or ".join(owners)
                raise ParamsError(f"judge.{key} is a parameter of the judge {names}, not of {', '.join(sorted(asked))}")
        if self.compare and self.compare.grades and "likert" not in asked:
            raise ParamsError("judge.compare.grades is a parameter of the judge likert, not of pairwise")

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """The rubric's."""
        return () if isinstance(self.rubric, str) else self.rubric

    def jurors(self) -> tuple["Judge", ...]:
        """The judges one by one, each with a label of its own; a judge alone is its own jury."""
        if not self.jury:
            return (self if self.label else dataclasses.replace(self, label=self.name),)
        made = [self._juror(i, juror) for i, juror in enumerate(self.jury)]
        names = [judge.label or judge.name for judge in made]
        labels = [_label(judge, names) for judge in made]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        require(not twice, "judge.jury", "judges that differ in name or model, or have a label each", twice)
        return tuple(dataclasses.replace(judge, label=label) for judge, label in zip(made, labels, strict=True))

    def _juror(self, i: int, own: Mapping[str, Any]) -> "Judge":
        """The block of one juror, laid over what it can read of this one."""
        where, name = f"judge.jury[{i}]", own.get("name", self.name)
        require("jury" not in own, where, "a judge, without a jury of its own", own)
        read = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("jury", "label")}
        read = {key: value for key, value in read.items() if name in OWN.get(key, (name,))}
        try:
            block = build(Judge, dict(own) | {"name": name}, "")
            assert isinstance(block, Judge)
            return Judge(**(read | {key: getattr(block, key) for key in own}))
        except ParamsError as error:
            raise ParamsError(f"{where}: {error}") from error


def _label(judge: Judge, names: Sequence[str]) -> str:
    """Its own label, or its name, with the model where several have that name."""
    name = judge.label or judge.name
    if judge.label or names.count(name) == 1 or not judge.model:
        return name
    return f"{name}@{Path(judge.model).name if Path(judge.model).is_dir() else judge.model}"


def _read_rubric(file: Path) -> tuple[Criterion, ...]:
    """The criteria in a YAML file: a list as it may also stand in params.yaml."""
    found = read_yaml(file, f"judge.rubric: {file}")
    require(isinstance(found, list) and bool(found), f"judge.rubric: {file}", "a list of criteria", found)
    made = [build(Criterion, entry, f"judge.rubric: {file}[{i}].") for i, entry in enumerate(found)]
    return tuple(entry for entry in made if isinstance(entry, Criterion))
