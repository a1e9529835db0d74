"""Completions and judgements by a distilabel pipeline, on our engine and with our judge's words; in its own venv.

python -m bench.against.distilabel_steps PROMPTS.parquet ROWS FOLDER
"""

import sys
from pathlib import Path
from typing import Any

import polars as pl
from distilabel.models import LLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import Task, TextGeneration
from pydantic import PrivateAttr

from bench.pipeline import settings
from builder import ids, plugins
from builder.engines import Request, Sampling
from builder.judging import asking, panel
from builder.language import policy


class Engine(LLM):  # type: ignore[misc]
    """Our engine as distilabel wants it: a batch of conversations in, texts out. ``judges``: as the judge is asked."""

    rows: int
    judges: bool = False
    _engine: Any = PrivateAttr(None)
    _by: Any = PrivateAttr(None)
    _sampling: Any = PrivateAttr(None)
    _asked: int = PrivateAttr(0)

    def load(self) -> None:
        super().load()
        given = settings("transformers", self.rows)
        self._by = policy.base(given.model)
        self._engine = plugins.load("engines", "transformers").Engine(given, [self._by])
        own = given.complete
        drawn = Sampling(own.temperature, own.max_tokens, own.top_p, own.stop)
        self._sampling = asking.sampling(panel.load(given), given, 0) if self.judges else drawn

    @property
    def model_name(self) -> str:
        return "demo"

    def generate(self, inputs: list[Any], num_generations: int = 1) -> list[dict[str, Any]]:
        wanted = [tuple(messages) for messages in inputs for _ in range(num_generations)]
        seeds = (ids.seed_of(0, str(number)) for number in range(self._asked, self._asked + len(wanted)))
        self._asked += len(wanted)
        requests = [Request(m, self._by, seed, self._sampling) for m, seed in zip(wanted, seeds, strict=True)]
        found = dict(self._engine.generate(requests))
        texts = [[found[i + k] for k in range(num_generations)] for i in range(0, len(wanted), num_generations)]
        return [{"generations": [t.text for t in each], "statistics": _statistics(each)} for each in texts]


def _statistics(answers: list[Any]) -> dict[str, list[int]]:
    return {
        "input_tokens": [answer.prompt_tokens for answer in answers],
        "output_tokens": [answer.tokens for answer in answers],
    }


class Judge(Task):  # type: ignore[misc]
    """Asks what is missing, and reads the answer, by the judge `wim`."""

    rows: int
    _judge: Any = PrivateAttr(None)

    def load(self) -> None:
        super().load()
        self._judge = panel.load(settings("transformers", self.rows))

    @property
    def inputs(self) -> list[str]:
        return ["instruction", "generation"]

    @property
    def outputs(self) -> list[str]:
        return ["rating", "feedback", "status"]

    def format_input(self, input: dict[str, Any]) -> list[dict[str, str]]:
        prompt = [{"role": "user", "content": input["instruction"]}]
        asked: list[dict[str, str]] = self._judge.messages(prompt, input["generation"])
        return asked

    def format_output(self, output: str | None, input: dict[str, Any] | None = None) -> dict[str, Any]:
        del input
        said = self._judge.read(output or "")
        return {"rating": said.rating, "feedback": said.wim, "status": str(said.wim_status)}


def main(prompts: Path, rows: int, folder: Path) -> None:
    given = settings("transformers", rows)
    messages = pl.read_parquet(prompts, columns=["messages"])["messages"].to_list()
    data = [{"instruction": each[-1]["content"]} for each in messages]
    with Pipeline(name="bench", cache_dir=folder / "cache") as pipeline:
        load = LoadDataFromDicts(data=data, batch_size=BATCH)
        answer = TextGeneration(
            llm=Engine(rows=rows),
            num_generations=given.complete.n,
            input_batch_size=BATCH,
            output_mappings={"model_name": "policy"},
        )
        judge = Judge(llm=Engine(rows=rows, judges=True), rows=rows, input_batch_size=BATCH)
        load >> answer >> judge
    made = pipeline.run(use_cache=False)["default"]["train"]
    made.to_parquet(folder / "judged.parquet")
    print(len(made))


BATCH = 50
"""distilabel's own default; the engine's batches are within it."""

if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
