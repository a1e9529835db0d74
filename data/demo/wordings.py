"""How the wording of the feedback changes what the ratings are worth: the tables of docs/judges.md.

    python data/demo/wordings.py simulated      # right feedback, worded as each of judge.wording asks
    python data/demo/wordings.py model          # the demo model, which was trained on one wording, told each of them

Agreement is the share of pairs of a prompt's completions with different true coverage that a rating orders rightly,
a tie half.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # a script, run from anywhere

import world  # noqa: E402

from builder import complete, judge, judgements, params, prompts, rate, tables  # noqa: E402
from builder.embed import Encoder  # noqa: E402
from builder.judges._wordings import WORDINGS  # noqa: E402

ENCODER = Encoder(params.Embed())
RATINGS = ("wim", "calibrated", "numerical")
CLAUSES = {
    "habitat": "where {} lives", "diet": "what {} eats", "coat": "what {} wears", "size": "how big {} is",
    "call": "which sound {} makes", "enemies": "what {} fears",
}  # fmt: skip


# Texts that follow a wording, as judges put it: {name} is the animal, {these} the attributes that are missing, {facts}
# what should have been said. Which of them a judge writes is its own affair.
STYLES = {
    "default": [
        "The description of the animal leaves out its {these}.",
        "The answer does not mention the animal's {these}.",
        "Missing are its {these}.",
    ],
    "quotes": [
        "The {name} {facts}.",
        "It {facts}.",
        "The answer leaves out that the {name} {facts}.",
    ],
    "names_content": [
        "The description of the {name} leaves out its {these}.",
        "The answer about the {name} says nothing of its {these}.",
    ],
    "one_each": [
        "The description of the {name} leaves out its {each}.",
        "The answer about the {name} does not mention its {each}.",
    ],
    "questions": [
        "The answer does not say {what the animal}.",
        "The answer does not say {what it}.",
        "It stays open {what the name}.",
    ],
    "brief": ["{These}", "Missing: {these}."],
}


def written(style: str, animal: world.Animal, missing: Sequence[str]) -> str:
    """What a judge in this style says is missing."""
    if "{each}" in style:
        return " ".join(style.replace("{name}", animal.name).replace("{each}", key) for key in missing)
    these = world.enumeration(list(missing))
    filled = {
        "{name}": animal.name,
        "{these}": these,
        "{These}": these.capitalize(),
        "{facts}": world.enumeration([animal.facts[key] for key in missing]),
        "{what the animal}": _clauses("the animal", missing),
        "{what it}": _clauses("it", missing),
        "{what the name}": _clauses(f"the {animal.name}", missing),
    }
    for mark, text in filled.items():
        style = style.replace(mark, text)
    return style


def _clauses(subject: str, missing: Sequence[str]) -> str:
    return world.enumeration([CLAUSES[key].format(subject) for key in missing])


def simulated(style: str, seed: int = 1) -> pl.DataFrame:
    """Judgements of four answers to each prompt of the demo, with a number that crowds on 7 and 8."""
    random, rows = Random(seed), []
    for animal in world.animals()[: world.PROMPTS]:
        for index in range(4):
            told = world.choose_attributes(random)
            text, missing = world.completion(animal, told), [key for key in world.ATTRIBUTES if key not in told]
            number = float(min(world.rating(told, random.gauss(0, 0.3)), 10))
            said = written(style, animal, missing) if missing else ""
            rows.append(
                (f"{animal.name}-{index:02d}", animal.name, text, number, said, len(told) / len(world.ATTRIBUTES))
            )
    names = ["completion_id", "prompt_id", "text", "rating", "feedback", "truth"]
    missing_or_not = pl.when(pl.col("feedback") == "").then(pl.lit("nothing")).otherwise(pl.lit("missing"))
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(
        *(pl.lit(None, pl.Float64).alias(name) for name in ("scale_min", "scale_max")),
        judge=pl.lit("wim"), rating_status=pl.lit("ok"), wim_status=missing_or_not, reason=pl.lit(None, pl.String),
    )  # fmt: skip


KNOWN: dict[str | None, NDArray[np.float32]] = {None: np.full(384, np.nan, np.float32)}


def vectors(texts: pl.Series) -> NDArray[np.float32]:
    """As builder.ratings.Vectors; each text is embedded once."""
    new = [text for text in texts.drop_nulls().unique().sort() if text not in KNOWN]
    if new:
        KNOWN.update(zip(new, np.array(ENCODER(new)["embedding"].to_pylist(), np.float32), strict=True))
    return np.array([KNOWN[text] for text in texts], np.float32)


def agreement(frame: pl.DataFrame, settings: params.Params) -> dict[str, float]:
    """Of each rating over the judgements of ``frame``, whose true coverage is in ``truth``."""
    frame = frame.sort("completion_id")
    rated = rate.rate(frame, vectors, settings).with_columns(truth=frame["truth"])
    columns = {"wim": "wim", "calibrated": "calibrated", "numerical": "R"}
    found = {}
    for name, column in columns.items():
        known = rated.drop_nulls(column).select("prompt_id", "completion_id", "truth", value=pl.col(column).round(9))
        pairs = known.join(known, on="prompt_id", suffix="_b").filter(pl.col("truth") > pl.col("truth_b"))
        found[name] = pairs.select((0.5 + 0.5 * (pl.col("value") - pl.col("value_b")).sign()).mean()).item()
    return found


def model(settings: params.Params, run: Path) -> tuple[pl.DataFrame, float]:
    """Judgements by the demo model of the completions of ``run``, and the share of texts that can be read."""
    judge.run(run, settings)
    completions = tables.read(run / "completions.parquet", "completions", judgements.COMPLETIONS)
    feedback = tables.read(run / "feedback.parquet", "feedback", judgements.FEEDBACK)
    frame = judgements.collect(completions, feedback)
    asked = tables.read(run / "prompts.parquet", "prompts", ["prompt_id", "reference"])
    frame = frame.join(asked, on="prompt_id", how="left", maintain_order="left")
    truth = [world.coverage(text, facts) for text, facts in frame.select("text", "reference").iter_rows()]
    readable = frame["wim_status"].is_in(["missing", "nothing"]).mean()
    return frame.with_columns(truth=pl.Series(truth)), float(readable)


def _row(*cells: object) -> None:
    print(
        "| " + " | ".join(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |", flush=True
    )


def main() -> None:
    settings = params.load(HERE.parents[1] / "params.yaml", ["rate.also=[calibrated]", "judge.attempts=1"])
    base = dataclasses.replace(settings, rate=dataclasses.replace(settings.rate, method="wim"))
    if sys.argv[1:] == ["simulated"]:
        _row("wording", "a text", *RATINGS)
        for name, styles in STYLES.items():
            for style in styles:
                text = written(style, world.animals()[0], ["diet", "size"])
                _row(name, text, *agreement(simulated(style), base).values())
        return
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        prompts.run(run, base)
        complete.run(run, base)
        _row("wording", "readable", "a text", *RATINGS)
        for name in WORDINGS:
            told = dataclasses.replace(base, judge=dataclasses.replace(base.judge, wording=name))
            frame, readable = model(told, run)
            text = frame.filter(pl.col("wim_status") == "missing")["feedback"].head(1).to_list()
            _row(name, readable, *(text or ["-"]), *agreement(frame, base).values())


if __name__ == "__main__":
    main()
