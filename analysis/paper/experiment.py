"""The runs of an experiment: seeds by arms by rounds, and what of them is missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.paper import published
from analysis.runs import Run, load
from builder.errors import TableError

NO_SEED = -1
"""Stands for the seed of tables that name none."""


@dataclass(frozen=True)
class Cell:
    """One run: a round of an arm, under a seed."""

    seed: int
    arm: str
    round: int
    run: Run


@dataclass(frozen=True)
class Experiment:
    """Cells sorted by arm, in the paper's order, then seed, then round."""

    cells: tuple[Cell, ...]

    @property
    def seeds(self) -> list[int]:
        return sorted({cell.seed for cell in self.cells})

    @property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(cell.arm for cell in self.cells))

    @property
    def rounds(self) -> list[int]:
        return sorted({cell.round for cell in self.cells})

    def of(self, arm: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.arm == arm]

    def last(self, arm: str) -> list[Cell]:
        """The cells of the arm's last round."""
        last = max(cell.round for cell in self.of(arm))
        return [cell for cell in self.of(arm) if cell.round == last]

    def missing(self) -> list[str]:
        """What a full experiment would hold and this one does not, a sentence each."""
        said = [f"There is no run of the arm {arm}." for arm in published.ARMS if arm not in self.arms]
        there = {(cell.seed, cell.arm, cell.round) for cell in self.cells}
        for arm in self.arms:
            absent = [f"seed {s}, round {k}" for s in self.seeds for k in self.rounds if (s, arm, k) not in there]
            said += [f"{arm}: there is no run of {'; '.join(absent)}."] if absent else []
        return said + self.without("training") + self.without("evaluation")

    def without(self, name: str) -> list[str]:
        """The arms that have runs without the table ``name``, in a sentence."""
        stage = {"training": "wim train dpo", "evaluation": "wim evaluate"}[name]
        lacking = [cell for cell in self.cells if not (cell.run.path / f"{name}.parquet").is_file()]
        arms = ", ".join(dict.fromkeys(cell.arm for cell in lacking))
        runs = f"{len(lacking)} of {len(self.cells)} runs"
        return [f"{runs} ({arms}) have no {name}.parquet; `{stage} RUN` makes it."] if lacking else []


def read(paths: Sequence[Path]) -> Experiment:
    """The experiment of run folders. Raises TableError for what is no run, or is the same run twice."""
    cells: dict[tuple[str, int, int], Cell] = {}
    for path in dict.fromkeys(paths):
        run = load([path])[0]
        seed = run.seed()
        cell = Cell(NO_SEED if seed is None else seed, published.ALIASES.get(run.arm, run.arm), run.round, run)
        other = cells.setdefault((cell.arm, cell.seed, cell.round), cell)
        if other is not cell:
            what = f"both are round {cell.round} of the arm {cell.arm or '(none)'} under {named(cell.seed)}"
            raise TableError(f"{other.run.path} and {path}: {what}")
    return Experiment(tuple(sorted(cells.values(), key=_order(list(cells)))))


def _order(keys: list[tuple[str, int, int]]) -> Callable[[Cell], tuple[int, int, int]]:
    arms = [*published.ARMS, *dict.fromkeys(arm for arm, _, _ in keys if arm not in published.ARMS)]
    return lambda cell: (arms.index(cell.arm), cell.seed, cell.round)


def named(seed: int) -> str:
    """``seed 42``; tables made by others name none."""
    return "no named seed" if seed == NO_SEED else f"seed {seed}"
