"""train grpo: GRPO (or RLOO, ``grpo.algorithm``) by TRL's trainers, on the WIM reward or a reward model's, a verifiable
one, or both.
"""

from pathlib import Path
from typing import Any

from builder.errors import ParamsError
from builder.params import Params
from builder.ratings import reward_model
from builder.reward_model.scores import Scorer
from train import adapter, arguments
from train.loop import learning
from train.loop.learning import Learner, Made, Setting

INSTEAD = {
    "loss": "see grpo.loss",
    "label_smoothing": "there are no pairs",
    "beta": "the weight of the reference model is grpo.beta",
    "offset": "there are no pairs",
    "weight": "there are no pairs",
    "order": "there are no pairs",
    "max_completion": "see grpo.max_tokens",
    "launch": "it is one process",
    "throughput": "it is measured where pairs are stored",
}
"""Settings of DPO alone, and what to do about them."""


def run(folder: Path, params: Params, policy_folder: Path | None = None) -> Made:
    """Write RUN/policy, training.parquet, completions.parquet, feedback.parquet. Raises WimError: see ``learning``."""
    arguments.check_read(params.train, "grpo", INSTEAD)
    settings, batch = params.grpo, params.train.batch
    if batch % settings.generations:
        told = f"must be a multiple of grpo.generations ({settings.generations}): it counts completions"
        raise ParamsError(f"train.batch ({batch}) {told}")
    scorer = Scorer(reward_model.folder(params), params) if settings.reward == "reward_model" else None
    learner = Learner("grpo", settings.max_tokens, settings.verifier, settings.weight, trainer, scorer)
    return learning.run(folder, params, policy_folder, learner)


def trainer(setting: Setting) -> Any:
    """TRL's trainer as it is. A completion without a reward has no part in what it learns, nor in a group's mean."""
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    params = setting.params
    grpo = params.grpo.algorithm == "grpo"
    kind, config = (GRPOTrainer, GRPOConfig) if grpo else (RLOOTrainer, RLOOConfig)
    made = kind(
        model=setting.model,
        reward_funcs=[setting.reward],
        args=config(**_arguments(setting), **({"loss_type": params.grpo.loss} if grpo else {})),
        train_dataset=setting.data,
        processing_class=setting.tokenizer,
        peft_config=setting.shape,
        callbacks=arguments.callbacks(params, setting.folder),
    )
    if params.train.reference == "base":
        adapter.drop_copy(made)
    return made


def _arguments(setting: Setting) -> dict[str, Any]:
    settings = setting.params.grpo
    return arguments.common(setting.params, setting.work) | {
        "num_generations": settings.generations,
        "max_completion_length": settings.max_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "beta": settings.beta,
    }
