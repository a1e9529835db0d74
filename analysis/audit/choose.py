"""Which rating to use: chosen by cross-validation over prompts, and only if what is chosen so agrees with the truth.

The choice is made anew without each tenth of the prompts and judged on that tenth, so that the agreement told is of
the choosing and not of the luckiest of many ratings. Of ratings that are as good, the simplest.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.audit import agreement
from analysis.audit.agreement import Compared
from analysis.audit.baselines import OF_COSINES, OF_WORDS
from analysis.audit.measure import told
from analysis.audit.pairs import Pairs
from analysis.audit.rated import Rated

FOLDS = 10
BARRED = frozenset({"chance", "truth", "length"})
"""What may not be read: who learns from how long a completion is learns to write longer ones."""
FEWEST = 20
"""Prompts with compared pairs; of fewer nothing is recommended."""

Numbers = NDArray[np.float64]


def candidates(rated: Sequence[Rated]) -> list[Rated]:
    """What may be recommended, the simplest first: ratings alone, and none that reads what is barred."""
    able = [each for each in rated if each.kind == "rating" and not each.uses & BARRED]
    return sorted(able, key=lambda each: each.cost)


@dataclass(frozen=True, eq=False)
class Scores:
    """Sums by prompt: ``agree`` [candidates, prompts], where a pair without a rating counts half, and pairs ``n``."""

    agree: Numbers
    n: Numbers

    def simplest(self, prompts: NDArray[np.bool_]) -> int:
        """The first candidate, on these prompts, within one standard error of its difference from the best."""
        agree, n = self.agree[:, prompts], self.n[prompts]
        best = int(agree.sum(axis=1).argmax())
        lost = agree[best] - agree
        mean = lost.sum(axis=1) / n.sum()
        error = np.sqrt(((lost - mean[:, None] * n) ** 2).sum(axis=1)) / n.sum()
        return int(np.argmax(mean <= error + 1e-12))


def scores(able: Sequence[Rated], compared: Mapping[str, Compared], pairs: Pairs) -> Scores:
    prompt = pairs.prompt[pairs.compared]
    agree = [np.bincount(prompt, compared[each.name].agree, pairs.prompts) for each in able]
    return Scores(np.array(agree), np.bincount(prompt, minlength=pairs.prompts).astype(np.float64))


def folds(pairs: Pairs) -> NDArray[np.int64]:
    """A fold for each prompt, of about as many prompts each, drawn once."""
    order = np.random.default_rng(agreement.SEED).permutation(pairs.prompts)
    return order % min(FOLDS, max(pairs.prompts, 1))


def recommend(rated: Sequence[Rated], compared: Mapping[str, Compared], pairs: Pairs) -> dict[str, Any]:
    """``rating``: the name, None where nothing is recommended (``why``); ``agreement``, ``low``, ``high``: out of fold.

    ``chosen_in``: in how many folds which rating was chosen; ``not_considered``: why other ratings were not, by name.
    """
    able, left = able_and_left(rated, compared, pairs)
    return _recommended(able, compared, pairs) | {"not_considered": left}


def _recommended(able: Sequence[Rated], compared: Mapping[str, Compared], pairs: Pairs) -> dict[str, Any]:
    if not able:
        return {"rating": None, "why": "there is no rating to choose from"}
    if len(np.unique(pairs.prompt[pairs.compared])) < FEWEST:
        return {"rating": None, "why": f"fewer than {FEWEST} prompts have pairs to compare"}
    final, result = _choice(able, compared, pairs)
    if not (result["low"] or 0) > 0.5:
        return {"rating": None, "why": "no rating agrees with the truth better than chance does, out of fold"} | result
    return {"rating": final.name, "set": dict(final.set), "why": _why(final, able)} | result


def able_and_left(
    rated: Sequence[Rated], compared: Mapping[str, Compared], pairs: Pairs
) -> tuple[list[Rated], dict[str, str]]:
    """What may be recommended, the simplest first, and why each other rating may not.

    Words have to do better than words written of another completion, where these could be rated.
    """
    barred = {each.name: sorted(each.uses & BARRED) for each in rated if each.kind == "rating"}
    left = {name: f"reads {', '.join(read)}" for name, read in barred.items() if read}
    topics = [each.name for each in candidates(rated) if _is_topic(each, compared, pairs)]
    left |= dict.fromkeys(topics, "agrees no better than words written of other completions do")
    return [each for each in candidates(rated) if each.name not in left], left


def _is_topic(rated: Rated, compared: Mapping[str, Compared], pairs: Pairs) -> bool:
    """Whether words alone are not shown to beat their control, over the pairs that both rate.

    Who reads the number too is held against the number, in the choice itself.
    """
    control = compared.get(OF_COSINES if "completion" in rated.uses else OF_WORDS)
    if control is None or "text" not in rated.uses or "number" in rated.uses:
        return False
    own = compared[rated.name]
    gain = {"gain": (own.agree - control.agree, own.known & control.known)}
    low = agreement.means(gain, pairs.prompt[pairs.compared], pairs.prompts)["gain"].interval[0]
    return not low > 0


def _choice(able: Sequence[Rated], compared: Mapping[str, Compared], pairs: Pairs) -> tuple[Rated, dict[str, Any]]:
    """The choice by all prompts, and what choosing is worth out of fold."""
    found, fold = scores(able, compared, pairs), folds(pairs)
    chosen = [found.simplest(fold != each) for each in range(int(fold.max()) + 1)]
    by_fold = np.array(chosen)[fold[pairs.prompt[pairs.compared]]]
    agree = np.stack([compared[each.name].agree for each in able])[by_fold, np.arange(len(by_fold))]
    every = np.ones(len(agree), np.bool_)
    wanted = {"all": (agree, every), "matched": (agree, pairs.matched[pairs.compared])}
    if "numerical" in compared:
        wanted["versus"] = (agree - compared["numerical"].agree, every)
    estimates = agreement.means(wanted, pairs.prompt[pairs.compared], pairs.prompts)
    return able[found.simplest(np.ones(pairs.prompts, np.bool_))], {
        **told(estimates["all"]),
        "matched": told(estimates["matched"]),
        "versus_numerical": told(estimates["versus"], "difference") if "versus" in estimates else None,
        "chosen_in": dict(Counter(able[each].name for each in chosen).most_common()),
        "folds": len(chosen),
    }


def _why(final: Rated, able: Sequence[Rated]) -> str:
    return (
        f"of {len(able)} ratings the simplest within one standard error of the best, chosen by cross-validation over "
        f"prompts; reads {', '.join(sorted(final.uses))}"
    )


def fitted_mixture(rated: Sequence[Rated], compared: Mapping[str, Compared], pairs: Pairs) -> Rated | None:
    """The mixture whose zeta was fitted on the truth of the other folds' prompts: what choosing zeta is worth."""
    mixtures = [each for each in rated if each.set.get("method") in ("numerical", "mixed", "wim")]
    if len(mixtures) < 3:
        return None
    fold, found = folds(pairs), scores(mixtures, compared, pairs)
    values = np.full(len(mixtures[0].values), np.nan)
    for each in range(int(fold.max(initial=-1)) + 1):
        best = mixtures[int(found.agree[:, fold != each].sum(axis=1).argmax())]
        here = fold[pairs.prompt] == each
        rows = np.concatenate([pairs.better[here], pairs.worse[here]])
        values[rows] = best.values[rows]
    uses = frozenset({"truth"}).union(*(each.uses for each in mixtures))
    return Rated("mixed:fitted", "rating", uses, {}, (len(uses), 1, 1), values, combines=True)
