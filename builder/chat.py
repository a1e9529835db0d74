"""Messages, and their tokens under a model's chat template."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from builder.errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Message(TypedDict):
    """One turn of a conversation, as TRL and the chat templates read it."""

    role: str
    content: str


def encode(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[int]:
    """Token ids of the conversation with the prompt for the assistant's turn.

    Contents are tokenised apart from the template, so that no text of the data, whatever it
    spells, becomes a control token. Raises EngineError where the template cannot be taken apart.
    """
    contents = [message["content"] for message in messages]
    mark = "\u2063content"
    while any(mark in content for content in contents):
        mark += "\u2063"
    marks = [f"{mark}{i}\u2063" for i in range(len(messages))]
    rendered = _render(tokenizer, messages, marks)
    if _fill(rendered, marks, contents) != _render(tokenizer, messages, contents):
        contents = [content.strip() for content in contents]
        if _fill(rendered, marks, contents) != _render(tokenizer, messages, contents):
            raise EngineError("the model's chat template rewrites the contents; it cannot be filled safely")
    ids: list[int] = []
    for i, part in enumerate(re.split("(" + "|".join(map(re.escape, marks)) + ")", rendered)):
        text = contents[marks.index(part)] if i % 2 else part
        ids += tokenizer.encode(text, add_special_tokens=False, split_special_tokens=bool(i % 2)) if text else []
    return ids


def _render(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], contents: Sequence[str]) -> str:
    conversation = [{"role": m["role"], "content": c} for m, c in zip(messages, contents, strict=True)]
    return str(tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True))


def _fill(rendered: str, marks: Sequence[str], contents: Sequence[str]) -> str:
    for mark, content in zip(marks, contents, strict=True):
        rendered = rendered.replace(mark, content, 1)
    return rendered
