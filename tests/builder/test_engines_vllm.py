"""The engine vllm on the demo model, on a CPU: a start takes 10 to 20 s, so most tests share one engine."""

import importlib.metadata
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vLLM is not installed (make setup-vllm)", allow_module_level=True)

from builder import params, plugins
from builder.engines import Completion, Request, Sampling, _vllm_arguments, vllm
from builder.errors import EngineError
from builder.judges.wim import Judge
from builder.language import models
from builder.language.policy import Policy
from builder.params import Contrastive
from builder.statuses import Reason

BASE = Policy("data/demo/model")
DEMO = models.ROOT / "data/demo/prompts.jsonl"
PROMPTS = [json.loads(line)["prompt"] for line in DEMO.read_text().splitlines()]


def make_adapter(folder: Path, seed: int = 0) -> Policy:
    """A LoRA adapter with weights large enough to change greedy text."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(models.resolve(BASE.model), dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    model.save_pretrained(str(folder))
    return Policy(BASE.model, None, folder)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Policy]:
    return [make_adapter(tmp_path_factory.mktemp("adapter"), seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def engine(adapters: list[Policy]) -> Any:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    made = vllm.Engine(params.load(None), [BASE, *adapters])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    return made


def request(text: str, seed: int = 0, by: Policy = BASE, **sampling: Any) -> Request:
    settings = {"temperature": 0.9, "max_tokens": 32} | sampling
    return Request(({"role": "user", "content": text},), by, seed, Sampling(**settings))


def generate(engine: Any, requests: Sequence[Request]) -> list[Completion]:
    """What the engine yields, in the order of the requests."""
    done: dict[int, Completion] = dict(engine.generate(requests))
    return [done[i] for i in range(len(requests))]


def by_transformers(requests: Sequence[Request], dtype: str) -> list[Completion]:
    loaded = params.load(None, [f"engine.transformers.dtype={dtype}"])
    policies = list(dict.fromkeys(request.policy for request in requests))
    return generate(plugins.load("engines", "transformers").Engine(loaded, policies), requests)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_greedy_texts_equal_those_of_the_engine_transformers(engine: Any, adapters: list[Policy], dtype: str) -> None:
    requests = [request(text, by=by, temperature=0.0, max_tokens=64) for by in (BASE, adapters[0]) for text in PROMPTS]
    ours, theirs = generate(engine, requests), by_transformers(requests, dtype)
    agreeing = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print(f"{agreeing} of {len(requests)} agree with {dtype}")
    assert agreeing >= 0.99 * len(requests)


def test_a_sample_follows_its_seed_and_neither_batch_nor_order(engine: Any, adapters: list[Policy]) -> None:
    draw = random.Random(0)
    seeds = [draw.getrandbits(62) for _ in PROMPTS]
    requests = [request(text, seed, draw.choice([BASE, *adapters])) for text, seed in zip(PROMPTS, seeds, strict=True)]
    batched = generate(engine, requests)
    order = draw.sample(range(len(requests)), len(requests))
    assert generate(engine, [requests[i] for i in order]) == [batched[i] for i in order]
    assert [generate(engine, [r])[0] for r in requests[:20]] == batched[:20]
    again = generate(engine, [request(PROMPTS[0], seed) for seed in (5, 5, 6)])
    assert again[0] == again[1] != again[2]


def test_base_and_adapters_in_one_batch_are_as_each_alone(engine: Any, adapters: list[Policy]) -> None:
    policies = [BASE, *adapters]
    alone = [generate(engine, [request(t, by=by, temperature=0.0) for t in PROMPTS[:40]]) for by in policies]
    mixed = generate(engine, [request(t, by=by, temperature=0.0) for t in PROMPTS[:40] for by in policies])
    assert [mixed[i :: len(policies)] for i in range(len(policies))] == alone
    assert alone[0] != alone[1] != alone[2]


def test_a_prompt_beyond_the_context_is_a_reason_and_no_crash(engine: Any) -> None:
    edge = engine.context - generate(engine, [request("word", max_tokens=1)])[0].prompt_tokens
    long, over, within = generate(
        engine, [request("word " * 5000), request("word", max_tokens=edge + 1), request("word", max_tokens=edge)]
    )
    assert long == Completion("", "length", 0, Reason.TOO_LONG)
    assert over.reason == Reason.TOO_LONG
    assert within.reason is None


def test_an_empty_text_is_a_prompt_like_any_other(engine: Any) -> None:
    (done,) = generate(engine, [request("")])
    assert done.reason is None
    assert done.prompt_tokens > 0


def test_the_finish_reason_tells_a_cut(engine: Any) -> None:
    (cut,) = generate(engine, [request(PROMPTS[0], max_tokens=2)])
    assert (cut.finish_reason, cut.tokens) == ("length", 2)


def test_a_stop_text_ends_the_completion_as_with_transformers(engine: Any) -> None:
    requests = [request(t, temperature=0.0, max_tokens=60, stop=(" a ", ".")) for t in PROMPTS[:40]]
    done = generate(engine, requests)
    assert done == by_transformers(requests, "float32")
    assert all(" a " not in c.text and "." not in c.text and c.finish_reason == "stop" for c in done)


def test_top_p_keeps_to_the_nucleus(engine: Any) -> None:
    (greedy,) = generate(engine, [request(PROMPTS[0], temperature=0.0)])
    tight = generate(engine, [request(PROMPTS[0], seed=s, top_p=1e-6) for s in range(20)])
    assert {c.text for c in tight} == {greedy.text}


@pytest.mark.parametrize("scale", [(1.0, 10.0), (0.0, 1.0)])
@pytest.mark.parametrize("max_tokens", [160, 256])
def test_an_answer_held_to_the_judges_pattern_can_be_read(
    engine: Any, scale: tuple[float, float], max_tokens: int
) -> None:
    judge = Judge(scale)
    how = Sampling(1.0, max_tokens, pattern=judge.pattern(max_tokens))
    asked = [tuple(judge.messages([{"role": "user", "content": text}], "It is small.")) for text in PROMPTS]
    # Half are judge's work, half ordinary prompts, whose answers know nothing of the format.
    requests = [Request(messages, BASE, i, how) for i, messages in enumerate(asked[:100])]
    requests += [Request(({"role": "user", "content": text},), BASE, i, how) for i, text in enumerate(PROMPTS[100:])]
    readings = [judge.read(c.text, c.finish_reason) for c in generate(engine, requests)]
    assert [reading.reason for reading in readings] == [None] * len(requests)


def test_a_pattern_that_is_none_is_refused_and_the_engine_goes_on(engine: Any) -> None:
    with pytest.raises(EngineError, match="vLLM refuses a request"):
        generate(engine, [request("a"), request("a", pattern="(")])
    assert generate(engine, [request("a")])[0].reason is None


@pytest.mark.parametrize(
    ("sampling", "words"), [({"contrastive": Contrastive()}, "contrastive"), ({"temperature": 3.0}, "temperature")]
)
def test_what_the_engine_cannot_sample_is_said(engine: Any, sampling: Any, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        generate(engine, [request("a", **sampling)])
    assert generate(engine, [request("a")])[0].reason is None


def test_requests_are_taken_as_there_is_room_for_them(engine: Any) -> None:
    taken = 0

    def endless() -> Iterator[Request]:
        nonlocal taken
        while True:
            taken += 1
            yield request(PROMPTS[taken % 200], taken, max_tokens=4)

    answers = engine.generate(endless())
    places = [next(answers)[0] for _ in range(2 * engine.room)]
    assert len(set(places)) == 2 * engine.room
    assert taken <= 3 * engine.room
    answers.close()
    assert engine.core.get_num_unfinished_requests() == 0
    assert generate(engine, [request("a")])[0].reason is None


def test_no_requests_are_no_answers(engine: Any) -> None:
    assert list(engine.generate([])) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tensor_paralel_size": 2}, "tensor_paralel_size is unknown; the nearest known one is tensor_parallel_size"),
        ({"model": "x"}, r"engine\.vllm\.model cannot be set: set model\.name"),
        ({"load_format": "pt"}, "safetensors only"),
        ({"data_parallel_size": 2}, "data_parallel_size must be 1"),
        ({"max_num_seqs": 0}, "greater than or equal to 1"),
        ({"max_num_seqs": "many"}, "engine.vllm.max_num_seqs must be a whole number or null, not 'many'"),
        ({"gpu_memory_utilization": 2.0}, "gpu_memory_utilization"),
        ({"tensor_parallel_size": 0}, "tensor_parallel_size"),
        ({"dtype": "float7"}, "dtype"),
    ],
)
def test_a_setting_that_is_wrong_is_one_clear_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(EngineError, match=words) as raised:
        vllm.Engine(params.load(None, [f"engine.vllm={json.dumps(settings)}"]), [BASE])
    assert "\n" not in str(raised.value)


def test_settings_that_are_given_win_over_the_defaults() -> None:
    given = {"dtype": "bfloat16", "max_model_len": 64, "gpu_memory_utilization": 0.2}
    chosen = _vllm_arguments.arguments(given, BASE.model, "main", [])
    assert chosen | given == chosen
    assert chosen["revision"] == "main"
    assert "kv_cache_memory_bytes" not in chosen


def test_the_identity_is_what_can_change_a_text() -> None:
    given = {"dtype": "bfloat16", "max_num_seqs": 8, "tensor_parallel_size": 2, "quantization": "fp8"}
    loaded = params.load(None, [f"engine.vllm={json.dumps(given)}"])
    assert vllm.identity(loaded) == {"dtype": "bfloat16", "quantization": "fp8"}
    built_for_gpus = any(package.metadata["Name"] == "vllm" for package in importlib.metadata.distributions())
    assert vllm.identity(params.load(None)) == {"dtype": "auto" if built_for_gpus else "float32"}


def test_one_engine_serves_one_base_model() -> None:
    with pytest.raises(EngineError, match="one base model"):
        vllm.Engine(params.load(None), [BASE, Policy("another")])


def test_a_model_that_is_not_there_is_one_clear_error() -> None:
    with pytest.raises(EngineError, match="model no/such-model: cannot be loaded"):
        vllm.Engine(params.load(None), [Policy("no/such-model")])


def test_without_vllm_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(EngineError, match="make setup-vllm"):
        vllm.Engine(params.load(None), [BASE])


SCRIPT = """
import sys
from pathlib import Path
from builder import params
from builder.engines import Request, Sampling, vllm
from builder.errors import EngineError
from builder.language.policy import Policy

BASE = Policy("data/demo/model")

def requests(count, by=BASE, max_tokens=16):
    messages = ({"role": "user", "content": "Describe the lamp. " * 8},)
    return [Request(messages, by, seed, Sampling(0.9, max_tokens)) for seed in range(count)]

if __name__ == "__main__":
"""


def run(body: str, folder: Path, **options: Any) -> subprocess.Popen[str]:
    """The script in a process of its own, with nothing of vLLM in the environment."""
    file = folder / "script.py"
    file.write_text(SCRIPT + "".join(f"    {line}\n" for line in body.strip().splitlines()))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "TORCH_"))}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, file], env=clean, **pipes, **options)


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out, err


def test_it_runs_as_it_is_prints_nothing_and_says_how_it_died(tmp_path: Path) -> None:
    body = """
engine = vllm.Engine(params.load(None), [BASE])
assert len(dict(engine.generate(requests(600)))) == 600  # seeded, of 44 tokens: more than one step can take
def no_memory(*_, **__):
    raise MemoryError("unable to mmap")
answers = engine.generate(requests(2000))
first = next(answers)
engine.core.engine_core.engine_core.model_executor.execute_model = no_memory
for attempt in (answers, engine.generate(requests(1))):
    try:
        list(attempt)
    except EngineError as error:
        print(error, file=sys.stderr)
"""
    out, err = finished(run(body, tmp_path))
    assert out == ""
    said = err.splitlines()
    assert len(said) == 2, err
    assert said[0] == said[1]
    assert (
        "vLLM stopped (MemoryError: unable to mmap); rows that are done are kept, run the same command again" in said[0]
    )


def test_memory_does_not_decide_unseen_which_rows_are_too_long(tmp_path: Path) -> None:
    body = """
try:
    vllm.Engine(params.load(None, ["engine.vllm.kv_cache_memory_bytes=1600000"]), [BASE])
except EngineError as error:
    print(error)
"""
    out, _ = finished(run(body, tmp_path))
    assert "engine.vllm.kv_cache_memory_bytes" in out
    assert "engine.vllm.max_model_len" in out


def test_base_rows_that_come_out_as_an_adapters_are_found_at_the_start(adapters: list[Policy], tmp_path: Path) -> None:
    body = f"""
for sets in ([], ["engine.vllm.max_loras=1"]):
    try:
        vllm.Engine(params.load(None, sets), [BASE, Policy(BASE.model, None, Path({str(adapters[0].adapter)!r}))])
        print("fine")
    except EngineError as error:
        print(error)
"""
    out, _ = finished(run(body, tmp_path))
    fine, fault = out.splitlines()
    assert fine == "fine"
    assert fault.startswith("vLLM computes rows of the base model with")
    assert "max_loras" in fault


def test_weights_that_are_pickled_are_not_loaded(tmp_path: Path) -> None:
    import shutil

    import torch

    shutil.copytree(models.resolve(BASE.model), tmp_path / "model")
    (tmp_path / "model/model.safetensors").unlink()
    torch.save({}, tmp_path / "model/pytorch_model.bin")
    body = f"""
try:
    vllm.Engine(params.load(None), [Policy({str(tmp_path / "model")!r})])
except EngineError as error:
    print(error)
"""
    out, _ = finished(run(body, tmp_path))
    assert out.count("\n") == 1
    assert "vLLM cannot start" in out


def test_the_processes_of_tensor_parallelism_die_with_the_driver(tmp_path: Path) -> None:
    body = """
engine = vllm.Engine(params.load(None, ["engine.vllm.tensor_parallel_size=2"]), [BASE])
for place, _ in engine.generate(requests(100_000, max_tokens=200)):
    print(place, flush=True)
"""
    process = run(body, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline(), process.communicate()[1]
    workers = children(process.pid)
    assert len(workers) >= 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(map(alive, workers))


def children(process: int) -> list[int]:
    listed: Iterable[str] = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in listed]


def alive(process: int) -> bool:
    """Whether it runs; what nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
