"""The themes of the report's runs: runs of one embedder are grouped together."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from analysis.runs import Run
from analysis.themes import find, said
from analysis.themes.find import Themes

NO_FAISS = "FAISS is not installed (pip install faiss-cpu), so that feedback could not be grouped into themes."


@dataclass(frozen=True)
class Themed:
    """Runs whose vectors are of one embedder, and their themes. ``first``: how many themes others have before them."""

    runs: tuple[Run, ...]
    themes: Themes
    first: int

    def of(self, run: Run) -> pl.DataFrame:
        """The run's ``judged``, in which themes are counted over all groups of runs."""
        return self.themes.judged[self.runs.index(run)].with_columns(pl.col("theme") + self.first)


def of(runs: Sequence[Run], seed: int) -> tuple[list[Themed], str]:
    """The themes, and why there are none where something keeps them from being found ("" where nothing does)."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        embedder = said.embedder(run.path)
        if embedder is not None:
            groups.setdefault(embedder, []).append(run)
    themed: list[Themed] = []
    try:
        for group in groups.values():
            found = find.find([run.path for run in group], seed)
            if found:
                themed.append(Themed(tuple(group), found, sum(len(each.themes.themes) for each in themed)))
    except ImportError:
        return [], NO_FAISS
    return themed, ""
