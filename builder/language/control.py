"""Control strings: what a chat template writes between the turns of a conversation.

A text that holds one can end its own turn and begin another, wherever somebody tokenizes it together
with the template: at an endpoint, in a trainer. Such texts are escaped and counted here.

What counts as a control string is decided by its spelling, since we do not know who will read it:

- names with bars inside brackets, whoever invents them: ``<|im_end|>``, ``<｜User｜>``, ``<|turn>``, ``[|user|]``;
- families and single names that published tokenizers have: ``[INST]``, ``<end_of_turn>``, ``</s>``.

Spelling and case are exact, as they are to a tokenizer: ``<|IM END|>`` or ``＜|im_end|＞`` is plain text.
``<s>`` is a control string of Llama 2 and Mistral and also HTML for struck text: it counts as the
former, since an unneeded backslash is a blemish and an unescaped end of sequence a hole. So a count over
web pages is an upper bound. ``<think>`` and ``<tool_call>`` count too: they are single tokens to the
models that have them. XML and HTML otherwise, generics (``List<T>``), operators (``<|``, ``|>``, ``<|>``),
BBCode in small letters and Markdown links are no control strings.
"""

import re
from collections.abc import Sequence

import polars as pl

_ANGLED = (
    r"[|｜][^ \t\r\n<>|｜\\]+[|｜]>",  # Llama 3, ChatML, Phi, Command-R, gpt-oss, DeepSeek, ...
    r"\|[a-z_]+>",  # Gemma 4
    r"[a-z_]+\|>",
    r"<SYS>>",  # Llama 2
    r"</SYS>>",
    r"/?(?:s|role)>",
    r"(?:pad|unk|bos|eos|mask|sop|eop)>",
    r"(?:start_of_turn|end_of_turn|start_of_image|end_of_image|image_soft_token)>",  # Gemma
    r"(?:BOS|EOS|EOP|PAD|MASK|CLS|SEP|UNK)(?:_TOKEN)?>",  # Command-R
    r"(?:unused|reserved_|extra_id_|SPECIAL_)[0-9]+>",
    r"fim_(?:prefix|middle|suffix|pad)>",
    r"/?seed:[a-z_]+>",
)
_SQUARED = (
    r"/?INST\]",  # Llama 2, Mistral; so are the next two
    r"/?(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|SYSTEM_PROMPT|MODEL_SETTINGS|THINK)\]",
    r"(?:IMG|IMG_BREAK|IMG_END|AUDIO|BEGIN_AUDIO|TRANSCRIBE|CALL_ID|ARGS|PREFIX|MIDDLE|SUFFIX)\]",
    r"(?:BOS|EOS|PAD|UNK|MASK|gMASK|sMASK)\]",
    r"UNUSED_TOKEN_[0-9]+\]",
    r"\|[^ \t\r\n\[\]|\\]+\|\]",  # EXAONE
    r"e~\[",  # MiniMax
)
_THOUGHTS = ((r"<", r"/?(?:think|tool_call|tool_response|tools)>"),)
"""What a model writes itself, around its thoughts and its calls of tools."""
_OTHERS = ((r"\]", r"~!?b[\[\]]"), (r">", r">(?:QUESTION|ANSWER|INTRODUCTION|SUMMARY|COMMENT|ABSTRACT)<<"))

_FAMILIES = ((r"<", "|".join(_ANGLED)), (r"\[", "|".join(_SQUARED)), *_OTHERS)
PATTERN = "|".join(f"{first}(?:{rest})" for first, rest in (*_FAMILIES, *_THOUGHTS))
"""Any control string, for Python and for Rust alike."""

# Only the first character is consumed: control strings may overlap, and each of them must be found. No
# repetition runs past the next opening bracket, so the search is linear.
_TURNS = re.compile("|".join(f"{first}(?={rest})" for first, rest in _FAMILIES))
_START = re.compile("|".join(f"{first}(?={rest})" for first, rest in (*_FAMILIES, *_THOUGHTS)))


def escape(text: str, thoughts: bool = True) -> tuple[str, int]:
    """The text without control strings, and how many it held; those around ``thoughts`` may stay.

    A backslash behind the first character, as in ``<\\|im_end|>`` and ``[\\INST]``: everybody sees what
    stood there and that it was touched, nothing is lost, and as no control string holds a backslash,
    none is left or made. Escaping an escaped text changes nothing.
    """
    return (_START if thoughts else _TURNS).subn(r"\g<0>\\", text)


def holds(texts: pl.Expr) -> pl.Expr:
    """Whether a text holds a control string; null where there is no text."""
    return texts.str.contains(PATTERN)


def count(frame: pl.DataFrame, columns: Sequence[str] = ("prompt", "chosen", "rejected")) -> int:
    """Rows with a control string in any of the columns: texts, or lists of messages (then roles count too)."""
    found = (_holds_any(pl.col(name), frame.schema[name]) for name in columns)
    return int(frame.select(pl.any_horizontal(found).fill_null(False).sum()).item()) if columns else 0


def _holds_any(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    if not isinstance(kind, pl.List):
        return holds(column)
    turn = pl.element().struct
    return column.list.eval(holds(turn.field("content")) | holds(turn.field("role"))).list.any()
