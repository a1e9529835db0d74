"""The embedded engine on the demo model: rows do not depend on their batch, text is never a control token."""

import dataclasses
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builder import params, plugins, tables
from builder.engines import Completion, Request, Sampling
from builder.errors import EngineError, ParamsError
from builder.language import chat, models, policy
from builder.language.policy import Policy
from builder.params import Contrastive
from builder.statuses import Reason

BASE = Policy("data/demo/model")


def make_engine(*policies: Policy, **settings: Any) -> Any:
    loaded = params.load(None, [f"engine.transformers.{key}={value}" for key, value in settings.items()])
    return plugins.load("engines", "transformers").Engine(loaded, policies or [BASE])


def generate(engine: Any, requests: Sequence[Request]) -> list[Completion]:
    """What the engine yields, in the order of the requests."""
    done: dict[int, Completion] = dict(engine.generate(requests))
    return [done[i] for i in range(len(requests))]


@pytest.fixture(scope="module")
def engine() -> Any:
    return make_engine()


def request(text: str, seed: int = 0, by: Policy = BASE, **sampling: Any) -> Request:
    settings = {"temperature": 0.9, "max_tokens": 16} | sampling
    return Request(({"role": "user", "content": text},), by, seed, Sampling(**settings))


def prompts(count: int) -> list[str]:
    draw = random.Random(3)
    words = "describe the tell me about what is of grey lamp bird stone why how".split()
    return [" ".join(draw.choice(words) for _ in range(draw.randint(1, 30))) for _ in range(count)]


def test_two_thousand_rows_are_the_same_alone_and_in_batches(engine: Any) -> None:
    requests = [request(text, seed=i, max_tokens=4) for i, text in enumerate(prompts(2000))]
    batched = generate(engine, requests)
    single = generate(make_engine(batch_size=1), requests)
    assert batched == single
    order = random.Random(1).sample(range(2000), 2000)
    assert [batched[i] for i in order] == generate(engine, [requests[i] for i in order])
    assert len({c.text for c in batched}) > 100


def test_the_seed_decides_the_sample_and_nothing_else(engine: Any) -> None:
    first, again, other = generate(engine, [request("Describe the lamp.", seed=s) for s in (5, 5, 6)])
    assert first == again != other


def test_greedy_equals_transformers_own_generate(engine: Any) -> None:
    import torch

    (ours,) = generate(engine, [request("Describe the lamp.", temperature=0.0, max_tokens=20)])
    messages = [{"role": "user", "content": "Describe the lamp."}]
    ids = engine.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        theirs = engine.model.generate(**ids, do_sample=False, max_new_tokens=20)[0, ids["input_ids"].shape[1] :]
    assert ours.text == engine.tokenizer.decode(theirs, skip_special_tokens=True)


def test_samples_follow_the_models_distribution(engine: Any) -> None:
    """First tokens of 3,000 seeds against the softmax, by the largest difference of a frequency."""
    import torch

    text, count = "Describe the lamp.", 3000
    ids = chat.encode(engine.tokenizer, [{"role": "user", "content": text}])
    with torch.inference_mode():
        wanted = (engine.model(torch.tensor([ids])).logits[0, -1] / 0.9).softmax(-1)
    drawn = generate(engine, [request(text, seed=s, max_tokens=1) for s in range(count)])
    for token in wanted.topk(3).indices:
        piece = engine.tokenizer.decode([int(token)], skip_special_tokens=True)
        share = sum(c.text == piece for c in drawn) / count
        assert share == pytest.approx(float(wanted[token]), abs=0.04)


def test_top_p_keeps_to_the_nucleus(engine: Any) -> None:
    (greedy,) = generate(engine, [request("Describe the lamp.", temperature=0.0)])
    tight = generate(engine, [request("Describe the lamp.", seed=s, top_p=1e-6) for s in range(20)])
    assert {c.text for c in tight} == {greedy.text}


def test_the_finish_reason_tells_a_cut(engine: Any) -> None:
    (cut,) = generate(engine, [request("Describe the lamp.", max_tokens=2)])
    assert (cut.finish_reason, cut.tokens) == ("length", 2)
    (whole,) = generate(engine, [request("Describe the lamp.", temperature=0.0, max_tokens=120)])
    assert whole.finish_reason == "stop"


def test_a_stop_text_ends_the_completion(engine: Any) -> None:
    (whole,) = generate(engine, [request("Describe the lamp.", temperature=0.0, max_tokens=120)])
    (stopped,) = generate(engine, [request("Describe the lamp.", temperature=0.0, max_tokens=120, stop=(".",))])
    assert stopped.text == whole.text.split(".")[0]
    assert stopped.finish_reason == "stop"
    requests = [request(t, seed=i, max_tokens=60, stop=(".",)) for i, t in enumerate(prompts(20))]
    assert generate(engine, requests) == [generate(engine, [r])[0] for r in requests]


def test_contrastive_search_without_penalty_is_greedy(engine: Any) -> None:
    texts = ["Describe the lamp.", "What is the grey bird? Tell me about it."]
    greedy = generate(engine, [request(t, temperature=0.0, max_tokens=24) for t in texts])
    same = generate(
        engine, [request(t, temperature=0.0, max_tokens=24, contrastive=Contrastive(0.0, 4)) for t in texts]
    )
    other = generate(
        engine, [request(t, temperature=0.0, max_tokens=24, contrastive=Contrastive(0.9, 4)) for t in texts]
    )
    assert same == greedy
    assert other != greedy


def test_contrastive_search_is_the_same_in_a_padded_batch(engine: Any) -> None:
    requests = [request(t, temperature=0.0, max_tokens=12, contrastive=Contrastive()) for t in prompts(12)]
    assert generate(engine, requests) == [generate(engine, [r])[0] for r in requests]


def test_a_prompt_beyond_the_context_is_a_reason_and_no_crash(engine: Any) -> None:
    long, short = generate(engine, [request("word " * 5000), request("word")])
    assert long == Completion("", "length", 0, Reason.TOO_LONG)
    assert short.reason is None


def test_text_that_spells_control_tokens_never_becomes_one(engine: Any) -> None:
    tokenizer = engine.tokenizer
    hostile = "a" + "".join(tokenizer.all_special_tokens) + "b"
    special = set(tokenizer.all_special_ids)
    plain = chat.encode(tokenizer, [{"role": "user", "content": "ab"}])
    ids = chat.encode(tokenizer, [{"role": "user", "content": hostile}])
    assert sum(i in special for i in ids) == sum(i in special for i in plain)
    assert hostile in tokenizer.decode(ids)


def test_text_that_spells_the_marks_of_the_encoding_is_only_text(engine: Any) -> None:
    hostile = "a\u2063content0\u2063b"
    ids = chat.encode(engine.tokenizer, [{"role": "user", "content": hostile}, {"role": "user", "content": "x"}])
    assert hostile in engine.tokenizer.decode(ids)


def test_scikit_learn_is_not_imported_to_load_a_model() -> None:
    code = "import sys; from builder.language import models; models.load('data/demo/model', None, 'float64')"
    code += "; print([name for name in ('sklearn', 'scipy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_encoding_equals_the_chat_template_for_plain_text(engine: Any) -> None:
    messages: list[chat.Message] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Describe  the lamp,\nplease: größer 日本"},
    ]
    whole = engine.tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert chat.encode(engine.tokenizer, messages) == whole


def test_an_adapter_is_switched_on_and_off_per_request(engine: Any, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path)
    texts = ["Describe the lamp.", "Describe the bird."]
    alone = generate(engine, [request(t, temperature=0.0) for t in texts])
    mixed = generate(engine, [request(t, temperature=0.0, by=by) for by in (adapter, BASE) for t in texts])
    assert mixed[2:] == alone
    assert mixed[:2] != alone
    assert generate(engine, [request(t, temperature=0.0) for t in texts]) == alone


def make_adapter(folder: Path) -> Policy:
    """A LoRA adapter with weights large enough to change greedy text."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(models.resolve(BASE.model), dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    model.save_pretrained(str(folder))
    return Policy(BASE.model, None, folder)


def test_a_policys_hash_is_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    adapter = make_adapter(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    moved = dataclasses.replace(adapter, adapter=tmp_path / "b")
    assert moved.hash() != BASE.hash()
    policy.write(tmp_path / "b", moved)
    assert policy.read(tmp_path / "b", params.Model()).hash() == moved.hash()
    with pytest.raises(Exception, match=r"no policy\.json"):
        policy.read(tmp_path / "nowhere", params.Model())


def test_a_model_that_is_not_there_is_one_clear_error() -> None:
    with pytest.raises(EngineError, match="no/such-model: cannot be loaded"):
        make_engine(Policy("no/such-model"))


def test_one_engine_serves_one_base_model() -> None:
    with pytest.raises(EngineError, match="one base model"):
        make_engine(BASE, Policy("another"))


def test_an_unknown_plugin_names_those_there_are() -> None:
    with pytest.raises(ParamsError, match="echo, endpoint, transformers, vllm"):
        plugins.load("engines", "vlm")


def test_a_shared_prefix_is_computed_once_and_changes_nothing(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from builder.judges.wim import Judge

    judge = Judge((1, 10))
    asked = [(tuple(judge.messages([{"role": "user", "content": t}], t * 2)), i) for i, t in enumerate(prompts(40))]
    requests = [Request(m, BASE, i, Sampling(0.9, 12)) for m, i in asked]
    prefilled: list[int] = []
    original = type(engine)._prefilled

    def counted(self: Any, prefix: list[int], rows: int) -> Any:
        prefilled.append(len(prefix))
        return original(self, prefix, rows)

    monkeypatch.setattr(type(engine), "_prefilled", counted)
    shared = generate(engine, requests)
    assert len(prefilled) == 1
    assert prefilled[0] > 50
    assert shared == generate(make_engine(batch_size=1), requests)


@pytest.mark.parametrize("judged_by", ["base", "current", "data/demo/model"])
def test_an_arm_says_who_judges(wim: Any, write_jsonl: Any, tmp_path: Path, judged_by: str) -> None:
    adapter = make_adapter(tmp_path / "policy")
    policy.write(tmp_path / "policy", adapter)
    assert wim("ingest", write_jsonl([{"prompt": "q", "completion": "a"}]), "--out", "run") == 0
    sets = ("--set", "engine.name=echo", "--set", f"judged_by={judged_by}")
    assert wim("judge", "run", "--policy", "policy", *sets) == 0
    about = tables.read_metadata(tmp_path / "run/feedback.parquet")
    assert about["policy"]["hash"] == (adapter if judged_by == "current" else BASE).hash()
    assert str(tmp_path) not in json.dumps(about)
