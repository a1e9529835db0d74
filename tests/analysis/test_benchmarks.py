"""Standard benchmarks: local tasks on the demo's animals, the base model, and an adapter that changes it."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from builder import evaluate, tables
from builder.language import models, policy
from builder.language.policy import Policy

Wim = Callable[..., int]
ROOT = Path(__file__).parents[2]
MODEL = "data/demo/model"
CHOICE = """
task: animals_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
target_delimiter: " "
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 3}}
"""
WORDS = """
task: animals_words
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "is as big as"
generation_kwargs: {{until: ["."], max_gen_toks: 24, do_sample: false}}
num_fewshot: 0
filter_list:
  - {{name: size, filter: [{{function: regex, regex_pattern: "(is as big as)"}}, {{function: take_first}}]}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1}}
"""
GROUP = """
group: animals
task: [animals_choice, animals_words]
aggregate_metric_list: [{metric: acc, weight_by_size: true}]
metadata: {version: 2}
"""
UNSAFE = CHOICE.replace("task: animals_choice", "task: animals_unsafe\nunsafe_code: true")
AWAY = """
task: animals_away
dataset_path: nobody/animals-of-nowhere
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
"""


def questions(count: int = 24) -> list[dict[str, Any]]:
    """What does the animal feed on? One of five foods; every second animal is one that the model was trained on."""
    world = runpy.run_path(str(ROOT / "data/demo/world.py"))
    foods = world["ATTRIBUTES"]["diet"].values.split(", ")
    random = Random(3)
    rows = []
    known = world["PROMPTS"]
    for animal in world["animals"]()[known - count // 2 : known + (count + 1) // 2]:
        true = animal.facts["diet"]
        others = [f"feeds on {food}" for food in foods if food not in true]
        choices = [*random.sample(others, 4), true]
        random.shuffle(choices)
        question = f"Describe the {animal.name}: its diet."
        answers = [f"The {animal.name} {choice}." for choice in choices]
        rows.append({"question": question, "choices": answers, "answer": choices.index(true)})
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks, questions, and a run whose policy is an adapter of chance."""
    made = tmp_path_factory.mktemp("bench")
    (made / "tasks").mkdir()
    for name, task in {"choice": CHOICE, "words": WORDS, "unsafe": UNSAFE}.items():
        (made / f"tasks/{name}.yaml").write_text(task.format(folder=made))
    (made / "tasks/group.yaml").write_text(GROUP)
    (made / "tasks/away.yaml").write_text(AWAY)
    (made / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions()))
    make_adapter(made / "run/policy")
    return made


def make_adapter(target: Path) -> None:
    from peft import LoraConfig, get_peft_model

    _, model = models.load(MODEL, None, "float32")
    torch.manual_seed(5)
    shape = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=["q_proj", "v_proj", "down_proj"],
        task_type="CAUSAL_LM",
        init_lora_weights=False,
    )
    get_peft_model(model, shape).save_pretrained(str(target))
    policy.write(target, Policy(MODEL, None, target))


def by_hand(adapter: Path | None, chat_template: bool) -> list[bool]:
    """Whether the right choice of each question is the likeliest, by plain transformers, one text at a time."""
    from peft import PeftModel

    tokenizer, model = models.load(MODEL, None, "float32")
    if adapter:
        model = PeftModel.from_pretrained(model, str(adapter)).eval()
    right = []
    for row in questions():
        asked, between = row["question"], " "
        if chat_template:
            turns = [{"role": "user", "content": asked}]
            asked, between = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True), ""
        start = len(tokenizer(asked)["input_ids"])
        sums = []
        for choice in row["choices"]:
            ids = tokenizer(asked + between + choice, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                logs = model(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[:, 0]
            sums.append(float(logs[start - 1 :].sum()))
        right.append(int(np.argmax(sums)) == row["answer"])
    return right


def sizes_by_hand() -> list[bool]:
    """Whether the first sentence of the base model's greedy answer tells the size."""
    tokenizer, model = models.load(MODEL, None, "float32")
    told = []
    for row in questions():
        turns = [{"role": "user", "content": row["question"]}]
        inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        made = model.generate(**inputs, max_new_tokens=24, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        told.append("is as big as" in tokenizer.decode(made).split(".")[0])
    return told


def call(wim: Wim, folder: Path, tasks: str, *more: str, run: str = "run") -> int:
    return wim("eval", folder / run, "--set", f"eval.tasks=[{tasks}]", "--set", f"eval.include={folder}/tasks", *more)


@pytest.mark.parametrize("chat_template", [True, False])
def test_the_score_is_the_share_of_right_likeliest_choices(
    wim: Wim, folder: Path, capsys: pytest.CaptureFixture[str], chat_template: bool
) -> None:
    assert (
        call(wim, folder, "animals_choice", "--json", "--set", f"eval.chat_template={str(chat_template).lower()}") == 0
    )
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert result == tables.read_json(folder / "run/benchmarks.json")
    assert printed.err == ""
    entry = result["tasks"]["animals_choice"]
    assert (entry["num_fewshot"], entry["version"]) == (0, "3")
    found = entry["metrics"]["acc"]
    assert found["n"] == 24
    base, own = (np.array(by_hand(adapter, chat_template), float) for adapter in (None, folder / "run/policy"))
    assert found["base_value"] == pytest.approx(base.mean())
    assert found["value"] == pytest.approx(own.mean())
    assert (base != own).any()
    assert 0 < base.mean() < 1
    assert found["stderr"] == pytest.approx(own.std(ddof=1) / np.sqrt(24))
    assert found["difference"] == pytest.approx((own - base).mean())
    low, high = evaluate.bootstrap((own - base)[None], 42)[:, 0]
    assert (found["difference_low"], found["difference_high"]) == pytest.approx((low, high))
    assert low <= found["difference"] <= high


def test_two_runs_give_the_same_bytes_and_groups_their_parts(
    wim: Wim, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = []
    for _ in range(2):
        assert call(wim, folder, "animals", "--set", "eval.batch_size=3") == 0
        written.append((folder / "run/benchmarks.json").read_bytes())
    assert written[0] == written[1]
    assert str(folder).encode() not in written[0]
    out = capsys.readouterr().out
    assert "animals_choice" not in out  # the screen shows the group
    result = json.loads(written[0])
    tasks = result["tasks"]
    assert tasks["animals"]["metrics"]["acc"] == pytest.approx(tasks["animals_choice"]["metrics"]["acc"])
    assert tasks["animals"]["num_fewshot"] == 0
    words = tasks["animals_words"]["metrics"]["exact_match,size"]
    assert words["base_value"] == pytest.approx(np.mean(sizes_by_hand()))
    assert words["base_value"] != words["value"]
    assert words["difference"] == pytest.approx(words["value"] - words["base_value"])
    assert result["policy"] == policy.read(folder / "run/policy", None).about()  # type: ignore[arg-type]
    assert result["base"] == Policy(MODEL).about()
    assert result["truncated"] is False


def test_without_a_policy_it_is_the_base_model_and_nothing_to_compare(wim: Wim, folder: Path) -> None:
    assert call(wim, folder, "animals_choice", "--set", "eval.limit=5", run="other") == 0
    result = tables.read_json(folder / "other/benchmarks.json")
    found = result["tasks"]["animals_choice"]["metrics"]["acc"]
    assert found["n"] == 5
    assert found["value"] == pytest.approx(np.mean(by_hand(None, True)[:5]))
    assert found["difference"] is result["base"] is None
    assert result["policy"]["hash"] == Policy(MODEL).hash()


def test_examples_before_the_question_are_as_asked_for(wim: Wim, folder: Path) -> None:
    shots = ("--set", "eval.num_fewshot=2", "--set", "eval.limit=4")
    assert call(wim, folder, "animals_choice, animals_words", *shots, run="shots") == 0
    tasks = tables.read_json(folder / "shots/benchmarks.json")["tasks"]
    assert tasks["animals_choice"]["num_fewshot"] == 2
    assert tasks["animals_words"]["num_fewshot"] == 0  # its file says: never any


def test_a_question_that_was_cut_is_told(wim: Wim, tmp_path: Path, capsys: Any) -> None:
    long = questions(1)[0] | {"question": "Describe the animal: its diet. " * 400}
    (tmp_path / "questions.jsonl").write_text(json.dumps(long) + "\n")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/choice.yaml").write_text(CHOICE.format(folder=tmp_path))
    assert call(wim, tmp_path, "animals_choice") == 0
    assert "lost their beginning" in capsys.readouterr().err
    assert tables.read_json(tmp_path / "run/benchmarks.json")["truncated"] is True


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ("", "eval.tasks is empty"),
        ("animals_choise", "unknown to lm-eval; the nearest known: animals_choice"),
        ("animals, animals_words", "Duplicate task 'animals_words': found in both"),
        ("animals_unsafe", "runs code that the model has written"),
        ("animals_away", "its data cannot be reached: Couldn't reach 'nobody/animals-of-nowhere'"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(
    wim: Wim, folder: Path, capsys: pytest.CaptureFixture[str], tasks: str, words: str
) -> None:
    assert call(wim, folder, tasks, run="failing") == 1
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not (folder / "failing/benchmarks.json").exists()


def test_without_the_harness_it_says_what_to_install(
    wim: Wim, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.models.huggingface", None)
    assert call(wim, folder, "animals_choice", run="failing") == 1
    assert "pip install -e '.[eval]'" in capsys.readouterr().err
