"""The command: quick to start, one line for a user's mistake, the right exit code."""

import subprocess
import sys
from collections.abc import Callable

import pytest

Wim = Callable[..., int]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


HELP = """
import sys
sys.argv = ["wim", "--help"]
from builder import cli
try:
    cli.main()
except SystemExit:
    heavy = {"torch", "transformers", "polars", "pyarrow", "numpy", "yaml", "datasets"}
    print(sorted(heavy & set(sys.modules)))
"""
IMPORT = """
import sys, builder.{module}
print(sorted({{"torch", "transformers", "sentence_transformers"}} & set(sys.modules)))
"""
IMPORT_ALL = """
import importlib, pkgutil, sys, builder
for module in pkgutil.walk_packages(builder.__path__, "builder."):
    importlib.import_module(module.name)
print([name for name in sys.modules if name.split(".")[0] in ("train", "analysis")])
"""
LIGHT = """
rate pair stats ingest prompts publish explain records compare streams.vectors screen complete judge evaluate
""".split()


def test_help_imports_nothing_heavy() -> None:
    assert python(HELP).stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("module", LIGHT)
def test_a_stage_imports_no_torch_before_it_needs_it(module: str) -> None:
    assert python(IMPORT.format(module=module)).stdout == "[]\n"


def test_builder_imports_neither_train_nor_analysis() -> None:
    assert python(IMPORT_ALL).stdout == "[]\n"


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


@pytest.mark.parametrize(
    "arguments",
    [
        ("judge", "run", "--format", "openai"),
        ("judge", "run", "--export", "f.jsonl", "--policy", "somewhere"),
        ("clean", "--unused-for", "-1"),
        ("clean", "--unused-for", "nan"),
        ("clean", "--set", "seed=1"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(wim: Wim, arguments: tuple[str, ...]) -> None:
    assert wim(*arguments) == 2
