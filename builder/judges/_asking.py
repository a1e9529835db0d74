"""What every judge's question is made of: the prompt as one text, and texts that stay within their fence."""

import re
from collections.abc import Sequence

from builder.chat import Message

# What nobody sees: soft hyphen, zero width, direction, variation and tag characters.
_UNSEEN = r"\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e007f"
_WORDS = "|".join(f"[{_UNSEEN}]*+".join(word) for word in ("request", "answer"))
_FENCE = re.compile(rf"<(?=[\s{_UNSEEN}]*+/?+[\s{_UNSEEN}]*+(?:{_WORDS})(?!\w))", re.IGNORECASE)

USER = """\
<request>
{request}
</request>
<answer>
{answer}
</answer>"""


def question(system: str, prompt: Sequence[Message], completion: str) -> list[Message]:
    """The conversation that asks about one completion."""
    user = USER.format(request=fenced(conversation(prompt)), answer=fenced(completion))
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def conversation(prompt: Sequence[Message]) -> str:
    """A prompt as one text."""
    if len(prompt) == 1:
        return prompt[0]["content"]
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def fenced(text: str) -> str:
    """Text that cannot close its fence: a hostile answer may hold ``</answer>`` itself.

    That is what reads as the fence: in any case, with blanks, with characters that nobody sees. Other letters
    and brackets that look like it are other tokens to a judge, and are left as they are.
    """
    return _FENCE.sub("<\\\\", text)
