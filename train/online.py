"""train online: the paper's own algorithm. The policy answers twice, the judge says what is missing, DPO on the two.

By TRL's OnlineDPOTrainer. ``judged_by: base`` is the paper's fixed judge, ``current`` its changing one; the rating is
that of ``rate``, as in the stages.
"""

import os
from pathlib import Path
from typing import Any

from builder.errors import ParamsError
from builder.params import Params
from train import arguments
from train.loop import learning
from train.loop.learning import Learner, Made, Setting

LOSSES = ("sigmoid", "ipo")
"""TRL's online losses."""
INSTEAD = dict.fromkeys(("offset", "weight", "order"), "pairs come as they are made") | {
    "launch": "it is one process",
    "throughput": "it is measured where pairs are stored",
}
"""Settings for stored pairs alone, and why."""


def run(folder: Path, params: Params, policy_folder: Path | None = None) -> Made:
    """Write RUN/policy, training.parquet, completions.parquet, feedback.parquet. Raises WimError: see ``learning``."""
    if params.train.loss not in LOSSES:
        raise ParamsError(f"train.loss: {params.train.loss} is no loss of online DPO; it has {', '.join(LOSSES)}")
    arguments.check_read(params.train, "online", INSTEAD)
    return learning.run(
        folder, params, policy_folder, Learner("online", params.online.max_tokens, "none", 1.0, trainer)
    )


def trainer(setting: Setting) -> Any:
    """TRL's trainer, which leaves out pairs without a preference by ``pair.min_gap`` and ``pair.ties``."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # its version is pinned
    from train.loop.online_dpo import OnlineDPO

    params = setting.params
    made = OnlineDPO(
        model=setting.model,
        reward_funcs=setting.reward,
        args=_config(setting),
        train_dataset=setting.data,
        processing_class=setting.tokenizer,
        peft_config=setting.shape,
        callbacks=arguments.callbacks(params, setting.folder),
    )
    made.min_gap, made.ties, made.max_completion = params.pair.min_gap, params.pair.ties, params.train.max_completion
    if params.train.reference == "base":
        made.ref_model = None  # then it is the model with its adapter off, and no copy of what training starts from
    return made


def _config(setting: Setting) -> Any:
    from trl.experimental.online_dpo import OnlineDPOConfig

    params = setting.params
    settings = params.online
    return OnlineDPOConfig(
        loss_type=params.train.loss,
        beta=params.train.beta,
        max_new_tokens=settings.max_tokens,
        max_length=1 << 30,  # prompts.py leaves out what is too long; TRL would cut it
        temperature=settings.temperature,
        top_p=settings.top_p,
        generation_kwargs={"use_cache": True},  # TRL turns it off with gradient checkpointing
        **arguments.common(params, setting.work),
    )
