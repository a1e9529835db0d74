"""Typed parameters of `wim train`: the blocks of what learns from pairs or from ratings."""

from dataclasses import dataclass, field
from typing import Literal

from builder.params.blocks import require


@dataclass(frozen=True)
class Lora:
    """The paper's adapter; ``targets`` are the projections of a Llama-like model."""

    r: int = 16
    alpha: int = 16
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

    def __post_init__(self) -> None:
        require(self.r >= 1, "train.lora.r", "at least 1", self.r)
        require(0 <= self.dropout < 1, "train.lora.dropout", "at least 0 and below 1", self.dropout)


SMOOTHED = ("exo_pair", "robust", "aot", "aot_unpaired")
"""The losses that read train.label_smoothing."""
LISTWISE = ("lipo_lambda", "pro")
"""The losses that read all ranked completions of a prompt, and no pairs."""
BY_MARGIN = ("sigmoid", "hinge", "exo_pair", "robust", "discopop")
"""The losses that read nothing but a pair's margin of rewards: only there is an offset to the margin what it says."""


UNWEIGHTED = {
    "aot": "it sorts the pairs' margins, so that none has a loss of its own",
    "aot_unpaired": "it sorts the pairs' rewards, so that none has a loss of its own",
    "sft": "it is one mean over the tokens of all chosen completions",
    "hinge": "TRL multiplies in place what this loss's gradient is made from",
    "lipo_lambda": "it weighs the pairs of a list itself",
    "pro": "it weighs the completions of a list itself",
}
"""The losses that train.weight does not go with, and why."""


@dataclass(frozen=True)
class Launch:
    """``processes`` that share each step's pairs: on GPUs one for each, by accelerate; on CPUs by torchrun."""

    processes: int = 1

    def __post_init__(self) -> None:
        require(self.processes >= 1, "train.launch.processes", "at least 1", self.processes)


@dataclass(frozen=True)
class Train:
    """``batch`` pairs (lists) per step, in parts of ``device_batch``; ``max_completion`` tokens enter the loss.

    ``loss``: TRL's, or over lists: LISTWISE. ``offset``: how much the gap in ratings counts (ODPO's alpha; 0: not at
    all). ``weight``: whether a pair's loss counts by that gap. ``max_steps`` wins over ``epochs``; the learning rate
    falls linearly to 0 at the end. ``order``: by chance, or by the gap. ``max_prompt``: pairs with longer prompts
    are left out (null: as long as the model reads).
    """

    loss: Literal[
        "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
        "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm", "lipo_lambda", "pro",
    ] = "sigmoid"  # fmt: skip
    label_smoothing: float = 0.0
    beta: float = 0.1
    offset: float = 0.0
    weight: Literal["none", "delta"] = "none"
    order: Literal["random", "delta_desc", "delta_asc"] = "random"
    reference: Literal["previous", "base"] = "previous"
    max_steps: int | None = None
    epochs: float = 1.0
    batch: int = 64
    device_batch: int = 16
    learning_rate: float = 5.0e-6
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    max_prompt: int | None = None
    max_completion: int = 256
    save_steps: int = 50
    bf16: bool = False
    attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa"
    tensorboard: bool = False
    throughput: bool = False
    lora: Lora = field(default_factory=Lora)
    launch: Launch = field(default_factory=Launch)

    def __post_init__(self) -> None:
        require(self.beta > 0, "train.beta", "above 0", self.beta)
        require(self.max_steps is None or self.max_steps >= 1, "train.max_steps", "null or at least 1", self.max_steps)
        require(self.epochs > 0, "train.epochs", "above 0", self.epochs)
        require(self.batch >= 1 and self.device_batch >= 1, "train.batch", "at least 1", self.batch)
        require(self.learning_rate > 0, "train.learning_rate", "above 0", self.learning_rate)
        fine = self.max_prompt is None or self.max_prompt >= 1
        require(fine, "train.max_prompt", "null or at least 1", self.max_prompt)
        require(self.max_completion >= 1, "train.max_completion", "at least 1", self.max_completion)
        require(self.save_steps >= 1, "train.save_steps", "at least 1", self.save_steps)
        self._check_loss()
        if self.attention == "flash_attention_2":
            require(self.bf16, "train.bf16", "true for flash attention, which computes in 16 bits", self.bf16)

    def _check_loss(self) -> None:
        """What a loss would ignore is an error."""
        smoothing, smoothed = self.label_smoothing, self.loss in SMOOTHED
        require(0 <= smoothing < 0.5, "train.label_smoothing", "at least 0 and below 0.5", smoothing)
        readers = f"0 for the loss {self.loss} (read by {', '.join(SMOOTHED)})"
        require(smoothed or not smoothing, "train.label_smoothing", readers, smoothing)
        needed = self.loss == "exo_pair"
        require(not needed or smoothing > 0, "train.label_smoothing", "above 0 for exo_pair (1e-3, say)", smoothing)
        require(self.offset >= 0, "train.offset", "0 or more", self.offset)
        margin = f"0 for the loss {self.loss} (an offset goes with {', '.join(BY_MARGIN)})"
        require(not self.offset or self.loss in BY_MARGIN, "train.offset", margin, self.offset)
        alike = f"random for the loss {self.loss}: lists have no delta"
        require(self.order == "random" or self.loss not in LISTWISE, "train.order", alike, self.order)
        unweighted = f"none for the loss {self.loss} ({UNWEIGHTED.get(self.loss, '')})"
        require(self.weight == "none" or self.loss not in UNWEIGHTED, "train.weight", unweighted, self.weight)


ORDINAL = ("ordinal_nll", "all_threshold")
"""The losses of the reward model that read graded preferences, and learn thresholds."""


@dataclass(frozen=True)
class Reward:
    """The reward model. Steps, batch, learning rate and adapter are those of the block ``train``.

    ``grades``: categories of the ordinal losses, the same both ways round; ``grades_from``: ``delta``, cut at its
    quantiles, ``comparisons``, what pair judges said, or a column of pairs.parquet. ``heads``: one number, or one for
    each aspect that the judge told, under a learned gate; ``aspect_weight``: of their squared error. ``tune``: a LoRA
    adapter and the head, or the head alone on the model as it is. ``held_out``: share of the prompts.
    """

    loss: Literal["bradley_terry", "margin", "ordinal_nll", "all_threshold", "listwise"] = "bradley_terry"
    grades: int = 5
    grades_from: str = "delta"
    threshold_learning_rate: float = 1.0e-2
    heads: Literal["one", "aspects"] = "one"
    aspect_weight: float = 1.0
    tune: Literal["lora", "head"] = "lora"
    held_out: float = 0.2

    def __post_init__(self) -> None:
        require(self.grades >= 2, "reward.grades", "at least 2", self.grades)
        require(0 <= self.held_out < 1, "reward.held_out", "at least 0 and below 1", self.held_out)
        rate = self.threshold_learning_rate
        require(rate > 0, "reward.threshold_learning_rate", "above 0", rate)
        require(self.aspect_weight >= 0, "reward.aspect_weight", "0 or more", self.aspect_weight)
        read = self.is_ordinal or self.grades_from == "delta"
        told = f"left as it is for the loss {self.loss} (read by {', '.join(ORDINAL)})"
        require(read, "reward.grades_from", told, self.grades_from)

    @property
    def is_ordinal(self) -> bool:
        """Whether the loss reads grades."""
        return self.loss in ORDINAL


@dataclass(frozen=True)
class Kto:
    """A reward above ``threshold`` is good, below it bad; null: the median. ``desirable_weight`` null: the good ones
    together weigh as much as the bad ones.
    """

    threshold: float | None = None
    desirable_weight: float | None = None
    undesirable_weight: float = 1.0

    def __post_init__(self) -> None:
        good = self.desirable_weight
        require(good is None or good > 0, "kto.desirable_weight", "null or above 0", good)
        require(self.undesirable_weight > 0, "kto.undesirable_weight", "above 0", self.undesirable_weight)


@dataclass(frozen=True)
class Online:
    """What the policy writes while it learns by online DPO: two completions of ``max_tokens`` for each prompt."""

    temperature: float = 0.9
    top_p: float = 1.0
    max_tokens: int = 256

    def __post_init__(self) -> None:
        _check_drawing("online", self.temperature, self.top_p, self.max_tokens)


@dataclass(frozen=True)
class Grpo:
    """``generations`` completions for each prompt; ``train.batch`` counts completions.

    The reward is (1 - zeta) * verified + zeta * wim, where ``reward`` says whether the second is the rating of a judge
    (``wim``) or rate.reward_model, and ``verifier`` compares with the prompt's reference: by
    ``coverage``, the share of its lines that are there, ``contains``, 1 if all are, or another of builder/verifiers.py;
    zeta null: 0.5, and 1 without a verifier. ``beta``: the weight of the divergence from the reference model.
    ``loss``: TRL's, for grpo only.
    """

    algorithm: Literal["grpo", "rloo"] = "grpo"
    reward: Literal["wim", "reward_model"] = "wim"
    generations: int = 8
    verifier: Literal["none", "coverage", "contains", "exact", "numeric", "regex"] = "none"
    zeta: float | None = None
    beta: float = 0.0
    loss: Literal["dapo", "grpo", "dr_grpo", "bnpo"] = "dapo"
    temperature: float = 0.9
    top_p: float = 1.0
    max_tokens: int = 256

    def __post_init__(self) -> None:
        require(self.generations >= 2, "grpo.generations", "at least 2", self.generations)
        if self.zeta is None:
            object.__setattr__(self, "zeta", 1.0 if self.verifier == "none" else 0.5)
        require(0 <= self.weight <= 1, "grpo.zeta", "between 0 and 1", self.zeta)
        fine = self.verifier != "none" or self.zeta == 1
        require(fine, "grpo.zeta", "1 without a verifier (grpo.verifier)", self.zeta)
        require(self.beta >= 0, "grpo.beta", "0 or more", self.beta)
        fine = self.algorithm == "grpo" or self.loss == "dapo"
        require(fine, "grpo.loss", "left as it is for rloo, which has one loss", self.loss)
        _check_drawing("grpo", self.temperature, self.top_p, self.max_tokens)

    @property
    def weight(self) -> float:
        """Zeta, which is a number once the block is made."""
        assert self.zeta is not None
        return self.zeta


def _check_drawing(block: str, temperature: float, top_p: float, max_tokens: int) -> None:
    """Learning from what is always the same text is none, so that a temperature of 0 is an error."""
    require(0 < temperature < 100, f"{block}.temperature", "above 0 and below 100", temperature)
    require(0 < top_p <= 1, f"{block}.top_p", "above 0 and at most 1", top_p)
    require(max_tokens >= 1, f"{block}.max_tokens", "at least 1", max_tokens)
