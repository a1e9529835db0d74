"""How far a training is, on stderr."""

import sys
from typing import Any


def progress() -> Any:
    """A callback with a line of steps, loss and margin of rewards (or mean reward); none without a terminal."""
    from tqdm import tqdm
    from transformers import TrainerCallback

    class Progress(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, control, kwargs
            quiet = not sys.stderr.isatty()
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="train", disable=quiet)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            del args, control, kwargs
            if logs and "loss" in logs:
                told = {"loss": "loss", "rewards/margins": "margin", "reward": "reward"}
                self.bar.set_postfix({told[name]: logs[name] for name in told if name in logs}, refresh=False)
                self.bar.update(state.global_step - self.bar.n)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, state, control, kwargs
            self.bar.close()

    return Progress()
