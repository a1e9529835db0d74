"""`wim audit --fit`: rating, zeta and pair.min_gap for a wanted agreement, or for a wanted number of pairs.

Both are chosen on the truth, so what they are worth is measured by choosing anew without each tenth of the prompts and
looking at that tenth. How many pairs come out is counted on the run itself, which needs no truth.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.audit import agreement, choose
from analysis.audit.agreement import Compared
from analysis.audit.measure import told
from analysis.audit.pairs import Pairs
from analysis.audit.rated import Rated
from builder.compare import DECIMALS, judged_pairs
from builder.errors import InputError, UsageError
from builder.pair import select
from builder.params import Params

SHARES = np.arange(0, 0.95, 0.05)
"""Gaps that are tried leave out these shares of the pairs."""
FEWEST = 30
"""Pairs of the truth that a gap must leave, to be chosen by what they agree."""
AS_MANY = 0.95
"""Of the most pairs: so many are as good, and the simpler rating is taken."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Wanted:
    """One of the two: labels that agree so often, as many of them as there are; or so many, as good as they are."""

    agreement: float | None = None
    pairs: int | None = None


def wanted(agreement: float | None = None, pairs: int | None = None) -> Wanted:
    """What to fit for: without a wish an agreement of 0.8. Raises UsageError for what cannot be wished."""
    if pairs is not None:
        if pairs < 1:
            raise UsageError(f"--pairs must be at least 1, is {pairs}")
        return Wanted(pairs=pairs)
    agreement = 0.8 if agreement is None else agreement
    if not 0.5 < agreement < 1:
        raise UsageError(f"--agreement is a share between 0.5, which is chance, and 1; it is {agreement:g}")
    return Wanted(agreement=agreement)


@dataclass(frozen=True, eq=False)
class Option:
    """A rating with a gap. ``pairs``: how many of these the run gives.

    Of the compared pairs: ``agree``, which are ``kept`` by the gap, which the run has ``made`` into preferences.
    """

    rated: Rated
    gap: float
    pairs: int
    agree: Numbers
    kept: NDArray[np.bool_]
    made: NDArray[np.bool_]


def fit(
    rated: Sequence[Rated], compared: Mapping[str, Compared], pairs: Pairs, completions: pl.DataFrame,
    params: Params, wish: Wanted,
) -> dict[str, Any]:  # fmt: skip
    """The lines for params.yaml, and what to expect of them: out of fold, with its interval.

    ``completions``: completion_id, prompt_id, text of the run. Raises InputError where there is too little to fit on.
    """
    able, _ = choose.able_and_left(rated, compared, pairs)
    held = np.unique(pairs.prompt[pairs.compared])
    if not able:
        raise InputError("there is no rating to choose from, so none can be fitted; without --fit it is said why")
    if len(held) < choose.FEWEST:
        raise InputError(f"the truth compares pairs of {len(held)} prompts; fitting needs {choose.FEWEST}")
    options = [
        option for each in able for option in _options(each, compared[each.name], pairs, completions, params, wish)
    ]
    prompt = pairs.prompt[pairs.compared]
    fold = choose.folds(pairs)
    chosen = [_best(options, prompt, fold[prompt] != each, wish) for each in range(int(fold.max()) + 1)]
    final = _best(options, prompt, np.ones(len(prompt), np.bool_), wish)
    place = fold[prompt]
    stacked = {name: np.stack([getattr(each, name) for each in chosen]) for name in ("agree", "kept", "made")}
    agree, kept, made = (stacked[name][place, np.arange(len(place))] for name in ("agree", "kept", "made"))
    found = agreement.means({"all": (agree, kept), "made": (agree, kept & made)}, prompt, pairs.prompts)
    dropped = {"ties": "drop"} if params.pair.ties == "keep" else {}
    names = Counter(f"{each.rated.name}, gap {each.gap:g}" for each in chosen)
    result: dict[str, Any] = {
        "rating": final.rated.name,
        "set": {"rate": dict(final.rated.set), "pair": {"min_gap": final.gap} | dropped},
        "wanted": {name: value for name, value in vars(wish).items() if value is not None},
        "expected": told(found["all"]) | {"pairs": int(np.count_nonzero(kept))},
        "expected_of_made": told(found["made"]) | {"pairs": int(np.count_nonzero(kept & made))},
        "pairs": final.pairs,
        "chosen_in": dict(names.most_common()),
    }
    return result | {"reached": _reached(result, wish), "yaml": _yaml(result["set"])}


def _options(
    rated: Rated, own: Compared, pairs: Pairs, completions: pl.DataFrame, params: Params, wish: Wanted
) -> list[Option]:
    values = completions.with_columns(pl.col("text").hash(), value=rated.values)
    judged = judged_pairs(values.filter(pl.col("value").is_finite()))
    settings = replace(params.pair, min_gap=0.0, ties="drop")
    taken = select(judged, settings, params.seed)
    made = _is_made(judged.values["completion_id"], judged.better[taken], judged.worse[taken], pairs, completions)
    if settings.strategy == "best_random":  # there is a pair wherever the best and the worst are far enough apart
        taken = select(judged, replace(settings, strategy="best_worst"), params.seed)
    deltas = np.sort(np.round(judged.delta[taken], DECIMALS))
    size = np.abs(own.delta)
    if wish.pairs is not None:
        gaps = [_gap_for(deltas, wish.pairs)]
    else:
        sizes = size[own.known & (size > 0)]
        gaps = sorted({0.0, *np.round(np.quantile(sizes, SHARES), 4).tolist()}) if len(sizes) else [0.0]
    return [
        Option(rated, gap, int(np.count_nonzero(deltas > gap)), own.agree, own.known & (size > gap), made)
        for gap in gaps
    ]


def _gap_for(deltas: Numbers, pairs: int) -> float:
    """The largest gap of four decimals that leaves as many; 0 where there are no more than that."""
    if pairs >= len(deltas):
        return 0.0
    smallest = float(deltas[len(deltas) - pairs])
    gap = np.floor(smallest * 1e4) / 1e4
    return float(round(gap if gap < smallest else max(gap - 1e-4, 0.0), 4))


def _is_made(
    ids: pl.Series, better: NDArray[np.int64], worse: NDArray[np.int64], pairs: Pairs, completions: pl.DataFrame
) -> NDArray[np.bool_]:
    """Whether each compared pair is one that the run makes into a preference, in either order."""
    rows = completions.select("completion_id").with_row_index("row")
    row = ids.to_frame("completion_id").join(rows, on="completion_id", how="left", maintain_order="left")["row"]
    place = row.to_numpy().astype(np.int64)
    taken = _keys(place[better], place[worse], len(completions))
    kept = pairs.compared
    return np.isin(_keys(pairs.better[kept], pairs.worse[kept], len(completions)), taken)


def _keys(one: NDArray[np.int64], other: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    keys: NDArray[np.int64] = np.minimum(one, other) * rows + np.maximum(one, other)
    return keys


def _best(options: Sequence[Option], prompt: NDArray[np.int64], train: NDArray[np.bool_], wish: Wanted) -> Option:
    """The option that serves the wish best on the pairs ``train``. The simplest rating comes first in ``options``."""
    counts = np.array([np.count_nonzero(each.kept & train) for each in options])
    agree = np.array([each.agree[each.kept & train].sum() for each in options]) / np.maximum(counts, 1)
    agree[counts < FEWEST] = 0.0
    made = np.array([each.pairs for each in options])
    if wish.agreement is not None:
        able = agree >= wish.agreement
        enough = able & (made >= AS_MANY * made[able].max(initial=0))
        return options[int(np.argmax(enough)) if able.any() else int(agree.argmax())]
    assert wish.pairs is not None
    agree[made < min(wish.pairs, made.max())] = 0.0
    best = int(agree.argmax())
    return options[int(np.argmax(agree[best] - agree <= _error(options[best], agree[best], prompt, train)))]


def _error(option: Option, mean: float, prompt: NDArray[np.int64], train: NDArray[np.bool_]) -> float:
    """The standard error of an option's agreement; pairs of a prompt stand together."""
    kept = option.kept & train
    off = np.bincount(prompt[kept], option.agree[kept] - mean)
    return float(np.sqrt((off**2).sum()) / max(np.count_nonzero(kept), 1))


def _reached(result: Mapping[str, Any], wish: Wanted) -> bool:
    if wish.pairs is not None:
        return bool(result["pairs"] >= wish.pairs)
    return bool((result["expected"]["agreement"] or 0) >= (wish.agreement or 0))


def _yaml(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """The lines for params.yaml."""
    blocks = {name: ", ".join(f"{key}: {value}" for key, value in block.items()) for name, block in settings.items()}
    return "\n".join(f"{name}: {{{block}}}" for name, block in blocks.items())
