"""The command: quick to start, one line for a user's mistake, the right exit code."""

import subprocess
import sys
from collections.abc import Callable

import pytest

Wim = Callable[..., int]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


HEAVY = "{'torch', 'transformers', 'polars', 'pyarrow', 'numpy', 'yaml', 'datasets'}"


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys; sys.argv = ['wim', '--help']\nfrom builder import cli\ntry: cli.main()\nexcept SystemExit: print(sorted({HEAVY} & set(sys.modules)))"
    assert python(code).stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "module",
    ["rate", "pair", "stats", "ingest", "prompts", "publish", "explain", "records", "compare", "vectors", "screen"],
)
def test_what_needs_no_model_imports_no_torch(module: str) -> None:
    code = f"import sys, builder.{module}; print(sorted({{'torch', 'transformers', 'sentence_transformers'}} & set(sys.modules)))"
    assert python(code).stdout == "[]\n"


def test_builder_imports_neither_train_nor_analysis() -> None:
    code = "import pkgutil, importlib, sys, builder\nfor m in pkgutil.walk_packages(builder.__path__, 'builder.'):\n  importlib.import_module(m.name)\nprint([m for m in sys.modules if m.split('.')[0] in ('train', 'analysis')])"
    assert python(code).stdout == "[]\n"


def test_wrong_usage_is_2(wim: Wim) -> None:
    assert wim("no-such-command") == 2
    assert wim("pair") == 2
    assert wim("ingest", "x.jsonl", "--out", "r", "--map", "nonsense") == 2


def test_a_users_mistake_is_one_line_without_a_traceback(wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim("pair", "run", "--set", "pair.min_gab=1") == 1
    said = capsys.readouterr().err
    assert said == "wim: pair.min_gab is unknown; the nearest known one is min_gap\n"


def test_debug_shows_the_traceback(wim: Wim) -> None:
    with pytest.raises(Exception, match="min_gab"):
        wim("pair", "run", "--set", "pair.min_gab=1", "--debug")


def test_a_file_that_cannot_be_written_is_named(wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim("base", "/proc/nowhere/policy") == 1
    assert "/proc/nowhere" in capsys.readouterr().err
