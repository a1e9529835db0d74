"""`wim audit RUN --truth FILE`: how far every rating of a run agrees with the truth, and which one to use."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analysis.audit import ceiling, choose, combine, findings, fit, measure, pairs, rated, truth
from analysis.audit.agreement import compare
from analysis.audit.held import Held
from analysis.audit.measure import told
from analysis.audit.pairs import Pairs
from builder import judgements, tables
from builder.errors import InputError
from builder.pair import as_rated, columns
from builder.params import Params


def run(
    folder: Path, file: Path, params: Params, embed: bool = False, wanted: fit.Wanted | None = None,
    out: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The audit as one JSON object; with ``out`` also as an HTML page, with ``wanted`` also fitted parameters.

    ``embed``: embed what ratings lack. Raises InputError where the truth matches nothing of the run.
    """
    completions = tables.read(tables.find(folder, "completions"), "completions", columns(params.pair))
    prompts = tables.read(tables.find(folder, "prompts"), "prompts", [*judgements.PROMPTS, "source"])
    said = truth.read(file, completions, prompts)
    compared = pairs.of_truth(said, completions, prompts.select("prompt_id", "source"))
    if not compared.compared.any():
        raise InputError(f"{file}: no pair to compare: all that match are tied, of the same text or without another")
    if tables.path(folder, "ratings").is_file():
        params = as_rated(tables.path(folder, "ratings"), params)
    frame = judged(folder, completions, prompts)
    with contextlib.closing(Held(folder, params, embed)) as held:
        found = rated.find(folder, frame, completions, params, held)
    del frame
    result = audit(found, compared, rated.name_of(params.rate.method, params.rate.zeta))
    result = {"run": str(folder), **result, "truth": _about(file, said, compared)}
    if wanted:
        on_pairs = {each.name: compare(each.values, compared) for each in found.rated}
        result["fit"] = fit.fit(found.rated, on_pairs, compared, completions, params, wanted)
    if out:
        from analysis.audit import sections

        tables.write_text(out, sections.render(result))
        result["page"] = str(out)
    return result


def audit(found: rated.Found, compared: Pairs, method: str) -> dict[str, Any]:
    """Every rating on the pairs that the truth does not tie. ``method``: the run's own."""
    every = list(found.rated)
    on_pairs = {each.name: compare(each.values, compared) for each in every}
    for fitted in (choose.fitted_mixture(every, on_pairs, compared), combine.fitted(every, on_pairs, compared)):
        if fitted:
            every.append(fitted)
            on_pairs[fitted.name] = compare(fitted.values, compared)
    ratings = {each.name: measure.measure(each, on_pairs, compared) for each in every}
    top = ceiling.measure(compared)
    return {
        "pairs": int(np.count_nonzero(compared.compared)),
        "prompts": len(np.unique(compared.prompt[compared.compared])),
        "method": method,
        "ratings": ratings,
        "recommended": choose.recommend(every, on_pairs, compared),
        "ceiling": {**told(top.one), "pairs": top.pairs, "two": told(top.two)} if top else None,
        "warnings": findings.warnings(ratings, found.left_out, method),
        "left_out": found.left_out,
    }


def judged(folder: Path, completions: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
    """What was said, and the prompts' texts; of a run that nobody has judged the completions alone."""
    file = tables.path(folder, "feedback")
    if file.is_file():
        tables.check_made_from(file, tables.fingerprints({"completions": tables.find(folder, "completions")}), "judge")
        said = tables.read(file, "feedback", judgements.FEEDBACK)
    else:
        said = pl.DataFrame(tables.SCHEMAS["feedback"].empty_table()).select(judgements.FEEDBACK)
    return judgements.with_prompts(judgements.collect(completions, said), prompts)


def _about(file: Path, said: truth.Truth, compared: Pairs) -> dict[str, Any]:
    return {
        "file": str(file),
        "kind": said.kind,
        "records": said.records,
        "unmatched": said.unmatched,
        "apart": said.apart,
        "strangers": list(said.strangers),
        "bad": said.bad,
        "tied": int(np.count_nonzero(~compared.compared)),
        "same_text": compared.same_text,
    }
