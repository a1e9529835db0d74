"""README and docs/: what they link to is there, each task has its page, and parameters that they show are valid.

That their commands run: test_docs_run.py.
"""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from documented import PAGES, ROOT, Step, steps

from builder import params
from builder.arguments import parser

COMMANDS = [step for page in PAGES for step in steps(page) if step.text.startswith("wim ")]
YAML = [step for page in PAGES for step in steps(page) if step.language == "yaml"]
TASKS = {
    "critiques to a dataset": "docs/import.md",
    "the paper": "docs/experiment.md",
    "own judge": "docs/judges.md#a-judge-of-your-own",
    "own rating": "docs/ratings.md#a-rating-of-your-own",
    "annotation by people": "docs/annotate.md",
    "publish": "docs/publish.md",
    "learning from the words": "docs/refine.md",
    "reward model": "docs/reward_models.md",
    "cluster": "docs/cluster.md",
    "troubleshooting": "docs/troubleshooting.md",
}


def anchors(page: Path) -> set[str]:
    """Of the page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("step", COMMANDS, ids=lambda step: step.page)
def test_a_documented_command_parses(step: Step) -> None:
    """Also those that test_docs_run.py leaves to others."""
    parser().parse_args(shlex.split(step.text)[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("task", TASKS)
def test_the_readme_leads_to_each_task(task: str) -> None:
    assert f"({TASKS[task]})" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("step", YAML, ids=lambda step: step.page)
def test_documented_parameters_are_valid(step: Step, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(step.text)
    assert set(yaml.safe_load(step.text)) <= set(vars(params.load(tmp_path / "params.yaml")))


@pytest.mark.parametrize("script", sorted((ROOT / "docs/cluster").glob("*.sh")), ids=lambda script: script.name)
def test_the_clusters_scripts_are_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)


def test_the_make_targets_of_the_pages_are_there() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [step.text.split() for page in PAGES for step in steps(page) if step.text.startswith("make ")]
    assert {words[1] for words in commands} <= set(targets)
