"""Prompts by their final id: an id that came with several prompts is told apart."""

import itertools
from collections.abc import Container, Mapping, Sequence

from builder.imported.collected import Import, Prompt, add_judgement


def by_id(made: Import) -> tuple[dict[str, Prompt], int]:
    """Prompts by their final id, and the number of ids that came with more than one prompt.

    Records without a prompt belong to the prompt of their id, if it is the only one.
    """
    texts: dict[str, list[Prompt]] = {}
    for prompt in made.prompts.values():
        if prompt.content:
            texts.setdefault(prompt.given, []).append(prompt)
    groups = {prompt.given: prompt for prompt in made.prompts.values() if not _told_apart(prompt, texts)}
    for prompt in made.prompts.values():
        with_text = texts.get(prompt.given, [])
        if _told_apart(prompt, texts):
            groups[_free(prompt, groups)] = prompt
        elif prompt.content is None and len(with_text) == 1:
            _merge(made, with_text[0], prompt)
            groups[prompt.given] = with_text[0]
    # A prompt stands without completions where a completion_id led its records to another one.
    groups = {name: prompt for name, prompt in groups.items() if prompt.completions}
    return groups, sum(len(prompts) > 1 for prompts in texts.values())


def _told_apart(prompt: Prompt, texts: Mapping[str, Sequence[Prompt]]) -> bool:
    """Whether its id came with other prompts as well."""
    return prompt.content is not None and len(texts[prompt.given]) > 1


def _free(prompt: Prompt, taken: Container[str]) -> str:
    """ID~HASH, numbered where a record brought that very id, or where another hash begins alike."""
    name = f"{prompt.given}~{(prompt.content or '')[:8]}"
    numbered = (f"{name}~{number}" for number in itertools.count(1))
    return next(free for free in itertools.chain([name], numbered) if free not in taken)


def _merge(made: Import, prompt: Prompt, other: Prompt) -> None:
    """Move the completions of ``other`` to ``prompt``."""
    prompt.source, prompt.reference = prompt.source or other.source, prompt.reference or other.reference
    for completion in other.completions:
        known = None if completion.own_id else prompt.by_text.get(completion.text)
        if known is None:
            prompt.completions.append(completion)
            continue
        for said, extra in completion.said.items():
            made.duplicates += not add_judgement(known, said, extra)
