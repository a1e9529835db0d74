"""What every judge's question is made of: the prompt as one text, and texts that stay within their fence."""

import functools
import re
from collections.abc import Sequence

from builder.language.chat import Message

# What nobody sees: soft hyphen, zero width, direction, variation and tag characters.
_UNSEEN = r"\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e007f"
MARKS = ("request", "answer")

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


def fenced(text: str, marks: Sequence[str] = MARKS) -> str:
    """Text that cannot close its fence of ``marks``: a hostile answer may hold ``</answer>`` itself.

    That is what reads as the fence: in any case, with blanks, with characters that nobody sees. Other letters
    and brackets that look like it are other tokens to a judge, and are left as they are.
    """
    return _fence(tuple(marks)).sub("<\\\\", text)


@functools.cache
def _fence(marks: tuple[str, ...]) -> re.Pattern[str]:
    words = "|".join(f"[{_UNSEEN}]*+".join(word) for word in marks)
    return re.compile(rf"<(?=[\s{_UNSEEN}]*+/?+[\s{_UNSEEN}]*+(?:{words})(?!\w))", re.IGNORECASE)
