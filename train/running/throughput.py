"""RUN/throughput.parquet: how fast training went, step by step.

A table of its own and written on demand (train.throughput), since times differ from run to run and equal inputs give
equal bytes in all other tables.
"""

import time
from typing import Any

import polars as pl

SECONDS = "seconds"
"""The entry of TRL's log, and thus of a checkpoint, that holds a step's time: a resumed training knows them all."""


def callback() -> Any:
    """Times each step from its first forward pass to its log, by when a GPU has finished it.

    Loading of batches, checkpoints and what happens between steps are not in it. TensorBoard gets tokens_per_second.
    """
    from transformers import TrainerCallback

    class Throughput(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *arguments: Any, **options: Any) -> None:
            del arguments, options
            self.began = time.perf_counter()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **options: Any) -> None:
            del args, control, options
            if logs and "loss" in logs:
                state.log_history[-1][SECONDS] = time.perf_counter() - self.began
                logs["tokens_per_second"] = table(state.log_history[-2:])["tokens_per_second"][-1]

    return Throughput()


def table(history: list[dict[str, Any]]) -> pl.DataFrame:
    """From TRL's log: ``tokens`` of prompts and completions, all processes together; ``seconds`` of the step."""
    steps = pl.DataFrame(
        [(entry["step"], entry["num_tokens"], entry[SECONDS]) for entry in history if "loss" in entry],
        schema={"step": pl.Int32, "tokens": pl.Int64, SECONDS: pl.Float64},
        orient="row",
    )
    steps = steps.with_columns(tokens=pl.col("tokens") - pl.col("tokens").shift(1, fill_value=0))
    return steps.with_columns(tokens_per_second=pl.col("tokens") / pl.col(SECONDS))
