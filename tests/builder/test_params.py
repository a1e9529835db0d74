"""Parameters: read, laid over one another, checked."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from builder.errors import ParamsError, UsageError
from builder.params import Params, load

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "params.yaml", *sorted((ROOT / "configs").glob("*.yaml"))]


def write(folder: Path, **document: Any) -> Path:
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def test_without_a_file_the_defaults_are_those_of_the_contract() -> None:
    params = load(None)
    assert params == Params()
    assert (params.seed, params.complete.n, params.complete.temperature, params.judge.attempts) == (42, 4, 0.9, 2)
    assert (params.rating.scale, params.rate.method, params.rate.zeta, params.pair.judge) == ((1, 10), "wim", 1, "mean")
    assert (params.train.beta, params.train.batch, params.train.learning_rate, params.train.lora.r) == (
        0.1,
        64,
        5e-6,
        16,
    )
    assert params.judge.contrastive is None
    assert params.judged_by == "base"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_that_ships_loads_for_each_arm_and_round(file: Path) -> None:
    document = yaml.safe_load(file.read_text())
    for arm in ["", *document.get("arms", [])]:
        for entry in document.get("rounds", [{"index": 0}]):
            params = load(file, arm=arm, round_index=entry["index"])
            assert not arm or params.rate.method == document["arm"][arm].get("rate", {}).get(
                "method", params.rate.method
            )


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"sed": 1}, "sed is unknown; the nearest known one is seed"),
        ({"engine": {"vllm": {"seed": float("nan")}}}, "engine.vllm must be a mapping of plain values"),
        ({"roundz": []}, "nearest known one is rounds"),
        ({"judge": {"temprature": 1}}, "judge.temprature is unknown; the nearest known one is temperature"),
        ({"train": {"lora": {"rank": 1}}}, "train.lora.rank is unknown"),
        ({"arm": {"wim": {"rat": {}}}}, "arm.wim.rat is unknown; the nearest known one is rate"),
        (
            {"arm": {"wim": {"rate": {"metod": "wim"}}}},
            "arm.wim: rate.metod is unknown; the nearest known one is method",
        ),
        ({"rounds": [{"index": 0, "trian": {}}]}, "rounds[0].trian is unknown; the nearest known one is train"),
        (
            {"rounds": [{"index": 1, "train": {"bta": 1}}]},
            "rounds[1]: train.bta is unknown; the nearest known one is beta",
        ),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(document: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ParamsError) as error:
        load(write(tmp_path, **document))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("seed=yes", "seed"),
        ("seed=1.5", "seed"),
        ("seed=true", "seed"),
        ("complete=3", "complete"),
        ("complete.n=0", "complete.n"),
        ("complete.n=40000", "complete.n"),
        ("complete.top_p=0", "complete.top_p"),
        ("complete.temperature=-1", "complete.temperature"),
        ("complete.temperature=.nan", "complete.temperature"),
        ("complete.max_tokens=0", "complete.max_tokens"),
        ("complete.stop=x", "complete.stop"),
        ("judge.attempts=0", "judge.attempts"),
        ("judge.structured=1", "judge.structured"),
        ("judge.contrastive.k=0", "judge.contrastive.k"),
        ("embed.truncation=cut", "embed.truncation"),
        ("rating.scale=[10,1]", "rating.scale"),
        ("rating.scale=[1]", "rating.scale"),
        ("rating.scale=[1,x]", "rating.scale[1]"),
        ("rating.scale=[-1,1]", "rating.scale"),
        ("rate.zeta=1.1", "rate.zeta"),
        ("rate.zeta=.inf", "rate.zeta"),
        ("rate.also=wim", "rate.also"),
        ("pair.strategy=best", "pair.strategy"),
        ("pair.min_gap=-1", "pair.min_gap"),
        ("train.beta=0", "train.beta"),
        ("train.learning_rate=fast", "train.learning_rate"),
        ("train.learning_rate=true", "train.learning_rate"),
        ("train.lora.dropout=1", "train.lora.dropout"),
        ("prompts.limit=0", "prompts.limit"),
        ("arms=wim", "arms"),
        ("arm=wim", "arm"),
        ("arm.wim=3", "arm.wim"),
        ("rounds=3", "rounds"),
        ("rounds=[3]", "rounds"),
        ("rounds=[{previous: base}]", "rounds"),
    ],
)
def test_a_wrong_type_or_range_is_an_error_that_names_the_key(text: str, key: str) -> None:
    with pytest.raises(ParamsError, match=r" must be ") as error:
        load(None, [text])
    assert str(error.value).startswith(f"{key} must be ")


def test_a_number_without_a_point_which_yaml_reads_as_text_is_a_number(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("train: {learning_rate: 5e-6}\n")
    assert load(tmp_path / "p.yaml").train.learning_rate == 5e-6
    assert load(None, ["train.learning_rate=1e-3"]).train.learning_rate == 1e-3


def test_a_centred_scale_is_fine_where_it_is_rescaled() -> None:
    assert load(None, ["rating={scale: [-1, 1], rescale: true}"]).rating.scale == (-1, 1)


def test_the_arm_and_the_round_lie_over_the_file_and_set_over_all(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        rate={"zeta": 0.5},
        train={"beta": 0.2, "batch": 8},
        arm={"numerical": {"rate": {"method": "numerical"}, "train": {"batch": 4}, "judged_by": "current"}},
        rounds=[{"index": 0, "previous": "base"}, {"index": 1, "previous": 0, "train": {"beta": 0.3}}],
    )
    params = load(file, arm="numerical", round_index=1)
    assert (params.rate.method, params.rate.zeta, params.judged_by) == ("numerical", 0.5, "current")
    assert (params.train.beta, params.train.batch) == (0.3, 4)
    params = load(file, ["train.beta=0.9", "rate.method=random"], arm="numerical", round_index=1)
    assert (params.train.beta, params.train.batch, params.rate.method, params.rate.zeta) == (0.9, 4, "random", 0.5)
    plain = load(file)
    assert (plain.rate.method, plain.train.beta, plain.train.batch, plain.judged_by) == ("wim", 0.2, 8, "base")
    assert load(file, arm="no block of its own", round_index=7) == plain


def test_set_reaches_an_arm_of_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, arm={"wim": {"rate": {"method": "wim"}}})
    sets = ["arm.wim.rate.zeta=0.25"]
    assert load(file, sets, arm="wim").rate.zeta == 0.25
    assert load(file, sets).rate.zeta == 1.0


@pytest.mark.parametrize("text", ["seed", "=1", " =1", "judge=[", "judge={a: b: c}"])
def test_set_that_is_not_key_value_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        load(None, [text])


def test_a_block_of_null_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("judge:\ntrain: {lora: }\narm:\nrounds:\narms:\n")
    assert load(tmp_path / "p.yaml") == Params()
    (tmp_path / "empty.yaml").write_text("")
    assert load(tmp_path / "empty.yaml") == Params()


@pytest.mark.parametrize(
    "content", [b"- 1\n", b"text", b"a: [", b"\xff\xfe", b"a: b: c", b"a: !!python/object:os.system x"]
)
def test_a_file_that_is_no_mapping_in_yaml_is_an_error_that_names_it(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_bytes(content)
    with pytest.raises(ParamsError, match=r"broken\.yaml"):
        load(file)


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ParamsError, match=path.name):
            load(path)
