"""Which arguments are URLs, and what the user sees of the copies that stand for them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from builder.arguments import parser
from builder.remote.locations import Place, named, replaced

Wim = Callable[..., int]
RUN = "s3://bucket/runs/mine"


def places(*words: str) -> set[Place]:
    arguments = parser().parse_args(words)
    arguments.words = list(words)
    return set(replaced(arguments))


def test_a_run_comes_with_the_folders_that_its_command_needs() -> None:
    assert places("pair", RUN, "--params", "hf://me/model/p.yaml") == {
        Place("s3", "bucket/runs/mine", (), True),
        Place("hf", "me/model/p.yaml"),
    }
    assert places("refine", RUN) == {Place("s3", "bucket/runs/mine", ("refined",), True)}
    assert places("evaluate", RUN, "--policy", "gs://b/policy") == {
        Place("s3", "bucket/runs/mine", ("policy",), True),
        Place("gs", "b/policy", None),
    }


def test_the_numbers_beside_a_page_belong_to_it() -> None:
    found = places("paper", "runs/a", "-o", "s3://b/paper.html")
    assert {place.url for place in found} == {"s3://b/paper.html", "s3://b/paper.json"}


@pytest.mark.parametrize(
    ("url", "above"),
    [
        ("s3://b/runs/a", ["b/runs", "b"]),
        ("s3://b", []),
        ("hf://datasets/me/data/a", ["datasets/me/data"]),
        ("hf://me/model/a/0", ["me/model/a", "me/model"]),
    ],
)
def test_nothing_lies_above_a_bucket_or_a_repository(url: str, above: list[str]) -> None:
    (place,) = places("pair", url)
    assert list(place.above()) == above


@pytest.mark.parametrize(
    "words",
    [
        ["annotate", RUN],
        ["compare", RUN, "other"],
        ["train", "merge", RUN],
        ["pair", "s3://bucket/../../elsewhere"],
        ["publish", RUN, f"{RUN}2"],
        ["pair", "s3://"],
        ["pair", "hf://datasets/me"],
        ["pair", "hf://buckets/me/mine/run"],
    ],
)
def test_what_takes_no_url_says_so(words: list[str], wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim(*words) == 2
    assert capsys.readouterr().err.startswith(f"wim: {next(word for word in words if '://' in word)}: ")


def test_this_folder_is_no_url(wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim("pair", ".") == 1
    assert "prompts.parquet does not exist: run `wim prompts .` first" in capsys.readouterr().err


def test_columns_stay_where_they_are_where_a_url_is_named() -> None:
    table = ".wim/remote/s3/bucket/a  1\nother                    2"
    assert [line.index(digit) for line, digit in zip(named(table).splitlines(), "12", strict=True)] == [25, 25]
    assert named(f"{Path.cwd()}/.wim/remote/gs/b/x: no") == "gs://b/x: no"
