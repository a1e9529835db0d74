"""What there is to do: rows and tokens of each stage, and where each figure is from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.plan.known import Generated, Known
from analysis.plan.prompts import SAMPLE, Counter, Prompts
from analysis.plan.speed import Measured
from builder.judges import compares
from builder.judging import panel
from builder.judging.panel import Juror
from builder.language.chat import Message
from builder.params import Compare, Params

REFERENCE = 0.38
"""What the reference's log-probabilities take, of an epoch's time: a stock step, which works them out itself, takes
1.38 times as long (bench/training.py, demo model on a CPU)."""


@dataclass(frozen=True)
class Work:
    """``rows``: answers to generate, texts to embed, pairs to learn from. Means of a row: ``read`` and ``tokens``,
    which are those generated, or else those embedded or learned from. ``longest``: the most tokens that a row can hold.
    ``alone``: further tokens, on which one GPU works while the others wait.
    """

    rows: int
    read: float
    tokens: float
    longest: int
    told: tuple[str, ...]
    alone: float = 0.0

    @property
    def all_tokens(self) -> float:
        """What a speed in tokens per second is about."""
        return self.rows * self.tokens


def complete(prompts: Prompts, params: Params, known: Known, measured: Measured | None) -> Work:
    """The completions of every prompt, by all policies alike."""
    settings = params.complete
    tokens, told = _length(known.complete, measured, settings.max_tokens, "completion", "complete.max_tokens")
    longest = prompts.longest + settings.max_tokens
    return Work(prompts.count * settings.of_prompt, prompts.mean, tokens, longest, (*prompts.told, told))


def judge(
    juror: Juror, prompts: Prompts, completions: Work, counter: Counter, known: Known, measured: Measured | None
) -> Work:
    """Every completion, or every pair of a judge that compares in both orders, and again what cannot be read."""
    params = juror.params
    made = panel.load(params)
    together = 2 if compares(made) else 1
    questions = _comparisons(params) if compares(made) else params.complete.of_prompt
    mean, longest = _question(juror, prompts, counter)
    mean, longest = mean + together * completions.tokens, longest + together * params.complete.max_tokens
    by_run = known.judge is not None and prompts.sampled
    if known.judge and by_run:
        mean = known.judge.read
    repeated, told = _repeated(known, measured)
    tokens, length = _length(known.judge, measured, params.judge.max_tokens, "judgement", "judge.max_tokens")
    read = f"{mean:,.0f} tokens in a question: " + ("as in the run" if by_run else counter.told)
    rows = math.ceil(prompts.count * questions * repeated)
    return Work(rows, mean, tokens, longest + params.judge.max_tokens, (read, length, told))


def embed(completions: Work, judges: Mapping[str, tuple[Juror, Work]], known: Known, measured: Measured | None) -> Work:
    """Every completion and every text on what is missing, once each."""
    said = [work for juror, work in judges.values() if not compares(panel.load(juror.params))]
    texts = completions.rows * (1 + len(said))
    told = "every completion and every judgement once: what is equal counts once, so this is the most"
    if known.distinct is not None:
        texts = math.ceil(texts * known.distinct)
        told = f"{known.distinct:.0%} of the texts are distinct, as in the run"
    means = [completions.tokens, *(work.tokens for work in said)]
    if known.embedded_tokens is not None:
        tokens, length = known.embedded_tokens, "as in the run"
    elif measured:
        tokens, length = measured.tokens, f"the mean of {measured.rows:,} in the trial"
    else:
        tokens, length = sum(means) / len(means), "those of completions and judgements, by their models' tokenizers"
    longest = max(map(round, means))
    return Work(texts, tokens, tokens, longest, (told, f"{tokens:,.0f} tokens in a text: {length}"))


def train(prompts: Prompts, completions: Work, params: Params, known: Known) -> Work:
    """Pairs, as often as they are learned from. The main process alone works out the reference's log-probabilities."""
    settings = params.train
    pairs = math.ceil(prompts.count * paired(params, known))
    told = "as in the run" if known.paired is not None else f"pair.strategy {params.pair.strategy}, no ties: the most"
    steps = settings.max_steps or math.ceil(pairs * settings.epochs / settings.batch)
    length = 2 * (prompts.mean + min(completions.tokens, settings.max_completion))
    learned = steps * settings.batch if pairs else 0
    words = (
        f"{pairs:,} pairs: {told}",
        f"{steps:,} steps of {settings.batch}; {length:,.0f} tokens in a pair: prompt and completion, twice",
        f"the reference's log-probabilities take one GPU {REFERENCE} of an epoch's time: as on the demo on a CPU",
    )
    longest = 2 * (prompts.longest + settings.max_completion)
    return Work(learned, length, length, longest, words, REFERENCE * pairs * length)


def _length(
    known: Generated | None, measured: Measured | None, most: int, what: str, parameter: str
) -> tuple[float, str]:
    """Tokens generated, in the mean."""
    if known:
        return (
            known.tokens,
            f"{known.tokens:,.0f} tokens in a {what}: the mean of the run's {known.rows:,}, by {known.by}",
        )
    if measured:
        return measured.tokens, f"{measured.tokens:,.0f} tokens in a {what}: the mean of {measured.rows:,} in the trial"
    return float(most), f"{most:,} tokens in a {what}: {parameter}, the most there can be"


def _repeated(known: Known, measured: Measured | None) -> tuple[float, str]:
    """Answers asked for, per judgement."""
    if known.repeated is not None:
        return (
            known.repeated,
            f"{known.repeated:.3f} answers for a judgement, what cannot be read asked again: as in the run",
        )
    if measured and measured.repeated is not None:
        told = "if as many cannot be read as of the trial's first"
        return measured.repeated, f"{measured.repeated:.3f} answers for a judgement: {told}"
    return 1.0, "one answer for a judgement: if all can be read"


def _question(juror: Juror, prompts: Prompts, counter: Counter) -> tuple[float, int]:
    """Tokens that a judge reads beside the completions: the mean and the most."""
    samples: Sequence[list[Message]] = prompts.table["messages"].head(SAMPLE).to_list() if prompts.sampled else []
    beside = [counter.count(_messages(juror, messages)) for messages in samples]
    if beside:
        return sum(beside) / len(beside), max(beside)
    words = counter.count(_messages(juror, [{"role": "user", "content": ""}]))
    return words + prompts.mean, words + prompts.longest


def _messages(juror: Juror, prompt: list[Message]) -> list[Message]:
    """What is asked about an empty completion, or two."""
    judge = panel.load(juror.params)
    return judge.messages(prompt, "", "") if compares(judge) else judge.messages(prompt, "")


def _comparisons(params: Params) -> int:
    """Questions about a prompt: pairs of its completions, in both orders."""
    settings, count = params.judge.compare or Compare(), params.complete.of_prompt
    pairs = count - 1 if settings.against is not None else min(count * (count - 1) // 2, settings.limit)
    return 2 * pairs


def paired(params: Params, known: Known) -> float:
    """Pairs of a prompt: as in the run, or as many as the strategy can make."""
    if known.paired is not None:
        return known.paired
    count = params.complete.of_prompt
    most = {"adjacent": count - 1, "all": count * (count - 1) // 2}
    return float(most.get(params.pair.strategy, 1)) if count > 1 else 0.0
