"""Records -> prompts, their completions and the judgements of these; what comes twice is counted."""

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from builder import ids, records
from builder.imported.judgement import Said, judgement_in
from builder.imported.mapped import FIELDS
from builder.judging import panel
from builder.language.chat import Message
from builder.params import Params
from builder.records import Bad, FieldError, Record, Rejected

_NOTHING: Mapping[str, str] = {}
KEPT_ONCE = ("reference", "source", "model")
"""Held once per prompt or completion; a record that says something else keeps it in ``extra``."""
MOST = 32_768
"""Completions of one prompt: ``index`` is int16."""


@dataclass(slots=True)
class Prompt:
    """``given``: the prompt_id of its records or, without one, ``content``, the hash of its messages."""

    given: str
    content: str | None
    messages: list[Message]
    source: str | None = None
    reference: str | None = None
    completions: "list[Completion]" = field(default_factory=list)
    by_text: "dict[str, Completion]" = field(default_factory=dict)


@dataclass(slots=True)
class Completion:
    """``said``: its judgements, each with the JSON of the fields that no table has."""

    text: str
    own_id: str | None
    model: str | None
    said: dict[Said, Mapping[str, str]] = field(default_factory=dict)


@dataclass
class Import:
    """All that was read, by prompt_id and messages; ``owned``: the completions that brought their id.

    ``asked``: the messages of a prompt that is a text, and their hash, since most prompts come more than once.
    """

    prompts: dict[tuple[str, str | None], Prompt] = field(default_factory=dict)
    asked: dict[str, tuple[list[Message], str]] = field(default_factory=dict)
    owned: dict[str, tuple[Prompt, Completion]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    records: int = 0
    duplicates: int = 0


def collect(found: Iterable[Record | Bad], params: Params, rejected: Rejected) -> Import:
    """The usable records, by prompt and completion; the others go to ``rejected``."""
    judge = functools.cache(lambda scale: panel.single(params, "a record's raw takes", scale))
    made = Import()
    for item in found:
        made.records += 1
        if isinstance(item, Bad):
            rejected.add(item)
            continue
        try:
            fields = _completed(item)
            made.duplicates += not _add(made, fields, judgement_in(fields, params, judge))
        except FieldError as error:
            rejected.add(records.bad(item, error))
    return made


def _completed(record: Record) -> Mapping[str, Any]:
    """In CSV an empty completion and an absent one look the same: it is an empty one."""
    fields = record.fields
    if fields.get("completion", "") is None and records.kind(record.file) == ".csv":
        return {**fields, "completion": ""}
    return fields


def _add(made: Import, fields: Mapping[str, Any], said: Said) -> bool:
    """Add a judgement; False if it is an exact duplicate. Nothing is added if a field is bad."""
    messages, content = _asked(made, fields)
    given = _identifier(fields, "prompt_id") or content
    if given is None:
        raise records.required(fields, "prompt", " (or prompt_id)")
    text = records.text(fields, "completion")
    if text is None:
        raise records.required(fields, "completion")
    once = {name: records.text(fields, name) for name in KEPT_ONCE if name in fields}
    extra = _NOTHING if fields.keys() <= FIELDS else _further(fields)
    own_id = _identifier(fields, "completion_id")
    prompt, completion = _known(made, own_id, given, content, text)
    if completion is None and made.sizes.get(given, 0) == MOST:
        raise FieldError("completion", f"is one too many: a prompt has at most {MOST:,}")
    if prompt is None:
        prompt = made.prompts[given, content] = Prompt(given, content, messages)
        if content and isinstance(fields["prompt"], str):
            made.asked[fields["prompt"]] = messages, content
    if completion is None:
        completion = Completion(text, own_id, once.get("model"))
        _attach(made, prompt, completion)
    prompt.source, prompt.reference = prompt.source or once.get("source"), prompt.reference or once.get("reference")
    differing = _differing(once, prompt, completion) if once else None
    return add_judgement(completion, said, {**extra, **differing} if differing else extra)


def _asked(made: Import, fields: Mapping[str, Any]) -> tuple[list[Message], str | None]:
    """The messages of the prompt, and the hash of them; none and None if it is absent."""
    prompt = fields.get("prompt")
    known = made.asked.get(prompt) if isinstance(prompt, str) else None
    if known:
        return known
    messages = records.messages(fields, "prompt")
    if messages is None:
        return [], None
    return messages, ids.prompt_id(messages)


def _further(fields: Mapping[str, Any]) -> dict[str, str]:
    """The fields that no table has, as JSON."""
    return {name: records.json_text(name, v) for name, v in fields.items() if name not in FIELDS and v is not None}


def _differing(once: Mapping[str, str | None], prompt: Prompt, completion: Completion) -> dict[str, str]:
    """What a record says otherwise than an earlier one, as JSON."""
    held = {"source": prompt.source, "reference": prompt.reference, "model": completion.model}
    return {name: json.dumps(value) for name, value in once.items() if value and value != held[name]}


def add_judgement(completion: Completion, said: Said, extra: Mapping[str, str]) -> bool:
    """Add a judgement; False if the completion has it."""
    if said in completion.said:
        return False
    completion.said[said] = extra
    return True


def _identifier(fields: Mapping[str, Any], name: str) -> str | None:
    value = records.text(fields, name)
    return value if value and value.strip() else None


def _known(
    made: Import, own_id: str | None, given: str, content: str | None, text: str
) -> tuple[Prompt | None, Completion | None]:
    """The prompt and the completion that a record speaks of, as far as earlier ones brought them."""
    prompt, completion = made.prompts.get((given, content)), None
    if own_id is None:
        return prompt, prompt.by_text.get(text) if prompt else None
    if own_id in made.owned:
        owner, completion = made.owned[own_id]
        other_prompt = content and owner.content and content != owner.content
        if completion.text != text or owner.given != given or other_prompt:
            raise FieldError("completion_id", "is already the id of another completion")
        if not content:
            prompt = owner
    return prompt, completion


def _attach(made: Import, prompt: Prompt, completion: Completion) -> None:
    prompt.completions.append(completion)
    prompt.by_text.setdefault(completion.text, completion)
    made.sizes[prompt.given] = made.sizes.get(prompt.given, 0) + 1
    if completion.own_id:
        made.owned[completion.own_id] = prompt, completion
