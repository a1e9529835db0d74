"""Identifiers: what they are the hash of."""

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from builder import ids
from builder.language.chat import Message

TURN = st.builds(Message, role=st.sampled_from(["system", "user", "assistant"]), content=st.text())


@given(messages=st.lists(TURN, max_size=3))
def test_a_prompt_id_is_of_the_canonical_json_of_the_messages(messages: list[Message]) -> None:
    text = json.dumps(messages, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert ids.canonical_json(messages) == text
    assert ids.prompt_id(messages) == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert ids.prompt_id([{"content": m["content"], "role": m["role"]} for m in messages]) == ids.prompt_id(messages)
