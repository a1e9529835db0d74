"""README and docs/ as they are printed: the fenced blocks of a page, commands one by one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]


@dataclass(frozen=True)
class Step:
    """A command (``language`` is sh), or a whole block of another language; ``file``: the file that the block is."""

    page: str
    language: str
    file: str
    text: str


def steps(page: Path) -> Iterator[Step]:
    """In the page's order; commands without their comments, on one line each."""
    for language, file, text in re.findall(r"^```(\w*) ?(\S*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
        if language != "sh":
            yield Step(page.name, language, file, text)
            continue
        for line in text.replace("\\\n", " ").splitlines():
            if command := line.split(" #")[0].strip():
                yield Step(page.name, language, file, command)
