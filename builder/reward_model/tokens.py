"""A prompt and its completion as the tokens that a reward model reads."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from builder.language import chat
from builder.language.chat import Message


class Tokens(NamedTuple):
    """``ids`` of the conversation; its first ``prompt`` are the prompt's; ``cut``: the completion was longer."""

    ids: list[int]
    prompt: int
    cut: bool


def encode(tokenizer: Any, messages: Sequence[Message], text: str, most: int) -> Tokens:
    """The prompt, the first ``most`` tokens of the completion, and the token that ends a turn.

    The reward is read at that last token, also where a completion is cut or does not end itself. No text becomes a
    control token (builder/language/chat.py).
    """
    before, own = chat.encode_turn(tokenizer, [*messages, Message(role="assistant", content=text)])
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return Tokens([*before, *own[:most], *end], len(before), len(own) > most)
