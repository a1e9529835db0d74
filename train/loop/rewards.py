"""The WIM reward for TRL's trainers: judge, embed and rate in the loop, mixed with a verifiable reward if wanted.

from train import wim_reward
trainer = GRPOTrainer(..., reward_funcs=[wim_reward("params.yaml")])
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from builder import ids, judgements, params, ratings, tables
from builder.encoder import Encoder
from builder.errors import ParamsError, TableError
from builder.judging import panel
from builder.language.policy import Policy
from builder.params import Params
from builder.ratings import is_together, reward_model
from builder.reward_model.scores import Scorer
from builder.verifiers import VERIFIERS
from train.loop import judging, stages
from train.loop.record import Record
from train.loop.verifiers import text_of, verified

Rewards = list[float | None]
"""One for each completion; None: the judge cannot be read, or there is no reference. TRL's GRPO and RLOO leave such a
completion out; its OnlineDPOTrainer would take it for 0.0, train.OnlineDPO leaves it out."""


class WimReward:
    """A reward function as TRL calls it: (1 - zeta) * verified + zeta * the rating of ``params.rate``.

    ``scorer``: a reward model whose number takes the rating's place, so that no judge is asked. ``written`` counts the
    completions of each prompt so far: their ids go on from there. ``record``: where rows are kept, if anywhere. Raises
    ParamsError for a rating that reads all judgements of a run at once.
    """

    __name__ = "wim"  # by which TRL logs it

    def __init__(
        self, params: Params, by: Policy, source: judging.Source | None, verifier: str = "none", zeta: float = 1.0,
        scorer: Scorer | None = None,
    ) -> None:  # fmt: skip
        self.params, self.by, self.source, self.scorer = params, by, source, scorer
        self.verifier, self.zeta = VERIFIERS.get(verifier), zeta
        self.written: Counter[str] = Counter()
        self.record: Record | None = None
        if scorer:
            self.__name__ = "reward_model"
            return
        if is_together(ratings.load(params.rate.method, params)):
            told = "reads all judgements of a run at once, and in the loop there is one batch"
            raise ParamsError(f"rate.method: {params.rate.method} {told}; take wim, numerical, mixed or random")
        panel.single(params, "the reward in the loop takes")
        self.encoder = Encoder(params.embed)

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> Rewards:
        """``prompts`` and ``completions`` as texts or messages; ``columns`` are the data set's and TRL's own.

        Of these, ``reference`` is read by a verifier, and ``prompt_id`` names the prompt (default: as in `wim`'s
        tables). Raises TableError where a verifier finds no column ``reference``.
        """
        batch = self._batch(prompts, completions, columns.get("prompt_id"), columns.get("reference"))
        feedback = pl.DataFrame(schema=pl.Schema(tables.SCHEMAS["feedback"]))
        wims: Rewards = [None] * len(batch)
        if self.zeta > 0 and self.scorer:
            wims = self._scored(batch)
            _log(columns, "reward_model/readable", sum(wim is not None for wim in wims) / len(wims))
        elif self.zeta > 0:
            assert self.source is not None
            feedback = stages.judged(batch, self.by, self.params, self.source)
            rated = stages.rated(batch, feedback, self.encoder, self.params)
            wims = batch.join(rated, on="completion_id", how="left", maintain_order="left")["reward"].to_list()
            _log(columns, "wim/readable", sum(wim is not None for wim in wims) / len(wims))
        rewards = self._mixed(wims, completions, columns)
        if self.record:
            self.record.add(columns["trainer_state"].global_step, batch, columns["completion_ids"], feedback, rewards)
        return rewards

    def _scored(self, batch: pl.DataFrame) -> Rewards:
        """The reward model's numbers; none for an empty completion, as in `wim rate`."""
        assert self.scorer is not None
        able = batch.filter(~judgements.is_empty(pl.col("text")))
        found = self.scorer(list(able.select("messages", "text").iter_rows()))
        known = dict(zip(able["completion_id"], found, strict=True))
        return [known.get(name) for name in batch["completion_id"]]

    def _batch(
        self, prompts: Sequence[Any], completions: Sequence[Any], names: Sequence[Any] | None,
        references: Sequence[str | None] | None = None,
    ) -> pl.DataFrame:  # fmt: skip
        """Columns completion_id, prompt_id, index, text, messages, reference in the order of TRL's batch."""
        messages = [_messages(prompt) for prompt in prompts]
        names = [str(name) for name in names] if names else [ids.prompt_id(turns) for turns in messages]
        rows, references = [], references or [None] * len(messages)
        for name, turns, completion, reference in zip(names, messages, completions, references, strict=True):
            index = self.written[name]
            self.written[name] += 1
            rows.append((ids.completion_id(name, index), name, index, text_of(completion), turns, reference))
        schema = {"completion_id": pl.String, "prompt_id": pl.String, "index": pl.Int16, "text": pl.String}
        return pl.DataFrame(rows, schema=schema | {"messages": stages.MESSAGES, "reference": pl.String}, orient="row")

    def _mixed(self, wims: Rewards, completions: Sequence[Any], columns: dict[str, Any]) -> Rewards:
        """What has no weight need not be there; what has weight and is not there makes the whole unknown."""
        if self.verifier is None or self.zeta == 1:
            return wims
        if "reference" not in columns:
            raise TableError("a verifiable reward needs a column 'reference' in the data set, and there is none")
        facts = verified(completions, columns["reference"], self.verifier)
        known = [fact for fact in facts if fact is not None]
        _log(columns, "wim/verified", sum(known) / len(known) if known else None)
        if self.zeta == 0:
            return facts
        return [
            None if wim is None or fact is None else (1 - self.zeta) * fact + self.zeta * wim
            for wim, fact in zip(wims, facts, strict=True)
        ]


def wim_reward(
    source: Params | Path | str | None = None, sets: Sequence[str] = (), model: Any = None, tokenizer: Any = None
) -> WimReward:
    """A reward function for somebody's own trainer, by the parameters of `wim`.

    ``source``: parameters, or their file (default: params.yaml, else the built-in defaults); ``sets``: as
    ``--set``. The judge is ``judged_by`` with the blocks model, judge and engine, loaded at the first batch; the
    verifier and its share are grpo.verifier and grpo.zeta; with grpo.reward a reward model takes the judge's place.
    ``model``: a PEFT model in memory judges itself instead,
    by ``judged_by: base`` with its adapter off and by ``current``, which needs it (else ParamsError), with it on.
    """
    if not isinstance(source, Params):
        default = Path("params.yaml")
        source = params.load(Path(source) if source else default if default.is_file() else None, sets)
    if source.judged_by == judging.MOVING and model is None:
        raise ParamsError(f"judged_by: {judging.MOVING} is the model in training: give it to wim_reward as model=")
    given, by = panel.who(source, None)
    mix = given.grpo
    scorer = Scorer(reward_model.folder(given), given) if mix.reward == "reward_model" else None
    asked = None if scorer else judging.source(given, by, model, tokenizer)
    return WimReward(given, by, asked, mix.verifier, mix.weight, scorer)


def _messages(prompt: Any) -> Any:
    """A prompt as messages."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": message["role"], "content": message["content"]} for message in prompt]


def _log(columns: dict[str, Any], name: str, value: float | None) -> None:
    """GRPO and RLOO hand over a function that logs; OnlineDPO none."""
    if "log_metric" in columns and value is not None:
        columns["log_metric"](name, value)
