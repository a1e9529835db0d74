"""What the tests of `wim annotate` share: a run with hostile texts."""

import json
from pathlib import Path
from typing import Any

from builder import ingest, params

HOSTILE = (
    '</div><script>alert(1)</script><img src="https://example.org/x.png" onerror="alert(2)">'
    '<a href="javascript:alert(3)">x</a>\n\u202e&lt;b&gt; <style>* { display: none }</style>'
)
SECRET = "the judge's own words"
PROMPTS, EACH = 4, 3


def records() -> list[dict[str, Any]]:
    """Four prompts of three completions, one of them empty and one that is there twice."""
    rows = []
    for prompt in range(PROMPTS):
        for index in range(EACH):
            text = f"Answer {index} to question {prompt}. {HOSTILE}"
            name = {
                "prompt": f"Question {prompt}? {HOSTILE}",
                "completion": text,
                "completion_id": f"c{prompt}-{index}",
            }
            said = {"feedback": f"It lacks part {index}: {SECRET}.", "rating": 3 + 2 * index, "judge": "critic"}
            rows.append(name | said | {"model": f"model-{index}", "source": "made"})
    rows.append(rows[0] | {"completion_id": "c0-again"})
    rows.append(rows[0] | {"completion_id": "c0-empty", "completion": " \n"})
    return rows


def make_run(folder: Path) -> Path:
    """An imported run: prompts, completions, feedback."""
    folder.mkdir(parents=True)
    file = folder / "records.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records()))
    ingest.run([file], folder, params.load(None))
    file.unlink()
    return folder
