"""A trial: how its calls grow, which of them count, and that it counts what the engine generated."""

import dataclasses
from collections.abc import Callable, Sequence

import polars as pl
import pytest

from analysis.plan import speed
from analysis.plan.speed import Call
from builder import complete, params
from builder.engines import transformers
from builder.judging import panel
from builder.language import policy

DEMO = pl.DataFrame(
    {
        "prompt_id": ["a", "b"],
        "messages": [
            [{"role": "user", "content": "Describe the heron."}],
            [{"role": "user", "content": "Describe the otter."}],
        ],
    }
)


def clocked(seconds: Callable[[int], float]) -> tuple[Callable[[Sequence[int]], tuple[int, int]], Callable[[], float]]:
    """Work that takes so many seconds for so many items, by a clock of its own."""
    now = [0.0]

    def work(some: Sequence[int]) -> tuple[int, int]:
        now[0] += seconds(len(some))
        return 10 * len(some), 3 * len(some)

    return work, lambda: now[0]


def grown(seconds: Callable[[int], float], limit: float, items: int = 10_000, batch: int = 1) -> list[int]:
    work, clock = clocked(seconds)
    return [call.rows for call in speed.grown(iter(range(items)), work, limit, batch, clock)]


def test_calls_grow_as_long_as_there_is_time() -> None:
    assert grown(lambda n: 0.001 * n, 1.0) == [1, 4, 16, 64, 256, 659]  # the last is cut to what is left
    assert grown(lambda _: 1.0, 3.5) == [1, 2, 3]  # a call takes a second, whatever it holds
    assert grown(lambda n: 100.0 * n, 1.0) == [1]
    assert sum(grown(lambda n: 0.001 * n, 1.0)) <= 1000


def test_calls_end_with_the_items_and_hold_full_batches() -> None:
    assert grown(lambda n: 0.001 * n, 100.0, items=30) == [1, 4, 16, 9]
    assert all(rows % 64 == 0 for rows in grown(lambda n: 0.001 * n, 1.0, batch=64)[3:])
    assert grown(lambda _: 0.001, 1.0, items=0) == []


def test_calls_of_full_batches_count_together_or_else_the_largest() -> None:
    calls = [Call(1, 10, 3, 1.0), Call(64, 640, 192, 2.0), Call(128, 1280, 384, 3.0), Call(4, 40, 12, 9.0)]
    assert speed.counted(calls, 64) == Call(192, 1920, 576, 5.0)
    assert speed.counted(calls, 1) == Call(128, 1280, 384, 3.0)
    assert speed.counted(calls[:1], 64) == calls[0]


def test_a_trial_of_the_demo_counts_what_it_generated() -> None:
    settings = params.load(None, ["complete.max_tokens=12", "judge.max_tokens=24", "complete.n=2"])
    jury = {"judge": panel.panel(settings)[0]}
    found = speed.trial(DEMO, settings, jury, 0.001, 1).measured  # so short that each stage has one call of one row
    assert {name: measured.rows for name, measured in found.items()} == dict.fromkeys(("complete", "judge", "embed"), 1)
    assert all(measured.rate > 0 and measured.start > 0 for measured in found.values())
    by = policy.base(settings.model)
    (request, *_) = complete.requests([DEMO], by, settings)
    ((_, again),) = transformers.Engine(settings, [by]).generate([request])
    assert (found["complete"].tokens, found["complete"].read) == (again.tokens, again.prompt_tokens)
    assert found["complete"].seconds > 0
    assert found["judge"].read > found["complete"].read
    assert found["judge"].tokens <= 24
    assert found["judge"].repeated in (1.0, 2.0)  # by whether the one answer can be read


def test_several_gpus_that_hold_one_model_share_its_speed() -> None:
    measured = speed.Measured(100, 20.0, 50.0, 10.0, 0.0)
    assert measured.rate == 500
    assert dataclasses.replace(measured, devices=4).rate == 125


@pytest.mark.parametrize(
    ("sets", "gpus", "wanted"),
    [
        ([], 8, 1),
        (["engine.name=vllm", "engine.vllm.tensor_parallel_size=2", "engine.vllm.pipeline_parallel_size=2"], 8, 4),
        (["engine.name=endpoint"], 8, 8),  # a server of one's own is measured with all its GPUs
        (["engine.name=endpoint", "engine.endpoint.price={input: 1}"], 8, 1),
    ],
)
def test_how_many_gpus_a_trial_is_of(sets: list[str], gpus: int, wanted: int) -> None:
    from analysis.plan.engine import devices

    assert devices(params.load(None, sets), gpus) == wanted
