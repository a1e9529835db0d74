"""Messages, and their tokens under a model's chat template."""

import copy
import datetime
import functools
import itertools
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from builder.errors import EngineError
from builder.language import control

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROLES = frozenset({"system", "developer", "user", "assistant", "model", "tool", "function", "ipython", "environment"})
"""Whose turn it may be. Templates write the role between control strings, so it is never any text of the data."""


class Message(TypedDict):
    """One turn of a conversation, as TRL and the chat templates read it."""

    role: str
    content: str


class _Turn(NamedTuple):
    """The place of a message's content in the template, and which of its ends the template strips."""

    message: int
    left: bool
    right: bool


class _Literal(NamedTuple):
    """What the template itself writes: ``text`` has a mark for each of its control tokens ``ids``."""

    text: str
    ids: tuple[int, ...]


class _Template(NamedTuple):
    """A rendered template, taken apart. ``escaped``: it has control strings that are plain text to its tokenizer."""

    parts: "tuple[_Literal | _Turn, ...]"
    escaped: bool


def encode(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[int]:
    """Token ids of the conversation with the prompt for the assistant's turn.

    For ordinary text they are those of the tokenizer's own ``apply_chat_template``. No text of the data,
    whatever it spells, becomes a control token: neither a special one nor an added one such as ``<think>``
    or DeepSeek's ``<｜User｜>``, which a tokenizer finds in any text. Where a template has control strings that
    are plain text to its tokenizer (Llama 2's ``[INST]``), those of the data are escaped.

    The template sees roles only, never the data. A system turn that it refuses or leaves out opens the next turn
    instead. Raises EngineError for a role that is not in ``ROLES`` and where the template or the tokenizer
    cannot be taken apart.
    """
    return _encoder(tokenizer).encode(messages)


def encode_turn(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> tuple[list[int], list[int]]:
    """Token ids of the conversation up to its last message's text, and those of that text, as ``encode`` has them.

    What the template writes after the text is in neither. A token across the text's beginning or end is the text's.
    """
    return _encoder(tokenizer).encode_turn(messages)


@functools.lru_cache(maxsize=4)
def _encoder(tokenizer: "PreTrainedTokenizerBase") -> "_Encoder":
    return _Encoder(tokenizer)


class _Encoder:
    """A copy of the tokenizer that finds no control token in any text.

    Where the template has one, a mark holds its place: an added token that nobody can spell, since it is
    drawn for each process. So the text is cut at the same places as by the tokenizer itself, and every piece
    is treated as it would treat it.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        from tokenizers import AddedToken

        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise EngineError("the model's tokenizer has no tokenizer.json (a fast one); text cannot be kept apart")
        self.tokenizer = tokenizer
        added = backend.get_added_tokens_decoder()
        self.controls = {token.content: (i, token) for i, token in added.items() if token.special or _is_mark(token)}
        self.forbidden = {i for i, _ in self.controls.values()} - {_unknown(tokenizer)}
        self.known = re.compile("|".join(map(re.escape, sorted(self.controls, key=len, reverse=True))) or r"(?!)")
        self.mark = f"\u2063{secrets.token_hex(16)}\u2063"
        self.backend = copy.deepcopy(backend)
        self.backend.no_truncation()
        self.backend.no_padding()
        self.backend.add_special_tokens([_as_special(token) for _, token in self.controls.values()])
        self.backend.add_tokens([AddedToken(self.mark, normalized=False, special=False)])
        self.backend.encode_special_tokens = True
        self.mark_id = self.backend.token_to_id(self.mark)
        self.template = functools.lru_cache(maxsize=64)(self._template)

    def encode(self, messages: Sequence[Message]) -> list[int]:
        pieces, ids = self._pieces(messages)
        return [i for i in self._filled("".join(pieces), ids)[1] if i is not None]

    def encode_turn(self, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
        pieces, ids = self._pieces(messages)
        parts = self.template(_roles(messages)).parts
        turns = (part.message if isinstance(part, _Turn) else None for part in parts)
        last = max(place for place, message in enumerate(turns) if message == len(messages) - 1)
        start = sum(len(piece.replace(self.mark, "")) for piece in pieces[:last])
        end = start + len(pieces[last])
        encoding, filled = self._filled("".join(pieces), ids)
        before, turn, marks = list[int](), list[int](), 0
        for i, token, (left, right) in zip(filled, encoding.ids, encoding.offsets, strict=True):
            left, right = left - marks, right - marks  # in the text without its marks
            if token == self.mark_id:
                marks, right = marks + len(self.mark), left
            if i is not None and left < end:
                (before if right <= start else turn).append(i)
        return before, turn

    def _pieces(self, messages: Sequence[Message]) -> tuple[list[str], list[int | None]]:
        """What the parts of the template come to, with a mark for each control token, and these tokens."""
        template = self.template(_roles(messages))
        texts, ids = list[str](), list[int | None]()
        for part in template.parts:
            if isinstance(part, _Literal):
                texts.append(part.text)
                ids += part.ids
            else:
                texts.append(_content(messages[part.message]["content"], part, template.escaped))
        return texts, ids

    def _filled(self, text: str, ids: Sequence[int | None]) -> tuple[Any, list[int | None]]:
        """The encoding of a text, and its token ids with ``ids`` (None: no token) in the places of its marks.

        A model of whole pieces (Unigram, ``ignore_merges``) may have a control token in its plain vocabulary:
        the text is cut between the characters of such a piece; a single character of that kind is left out.
        """
        encoding = self.backend.encode(text, add_special_tokens=False)
        spans = [span for i, span in zip(encoding.ids, encoding.offsets, strict=True) if i in self.forbidden]
        cuts = [place for start, end in spans for place in range(start + 1, end)]
        if cuts:
            return self._filled(*self._cut(text, cuts, ids))
        own = iter(ids)
        filled = [next(own) if i == self.mark_id else None if i in self.forbidden else i for i in encoding.ids]
        return encoding, filled

    def _cut(self, text: str, cuts: Sequence[int], ids: Sequence[int | None]) -> tuple[str, list[int | None]]:
        """The text with a mark at each cut, and the ids for all its marks."""
        own, filled = iter(ids), list[int | None]()
        pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
        for piece in pieces:
            filled += [*itertools.islice(own, piece.count(self.mark)), None]
        return self.mark.join(pieces), filled[:-1]

    def _template(self, roles: tuple[str, ...]) -> _Template:
        unknown = sorted(set(roles) - ROLES)
        if unknown:
            raise EngineError(f"a message has the role {unknown[0]!r}; known are {', '.join(sorted(ROLES))}")
        pad = "\t \t"  # what a template that strips contents takes off
        places = [f"{self.mark}{i}\u2063" for i in range(len(roles))]
        rendered = self._rendered(roles, [f"{pad}{place}{pad}" for place in places])
        pieces = re.split(rf"({pad})?{self.mark}(\d+)\u2063({pad})?", rendered)
        parts: list[_Literal | _Turn] = [self._literal(pieces[0])]
        for left, message, right, literal in zip(*(pieces[i::4] for i in range(1, 5)), strict=True):
            parts += [_Turn(int(message), left is None, right is None), self._literal(literal)]
        plain = (part.text.replace(self.mark, "\n") for part in parts if isinstance(part, _Literal))
        return _Template(tuple(parts), any(control.escape(text)[1] for text in plain))

    def _literal(self, text: str) -> _Literal:
        """Blanks beside a control token are stripped where it strips them; those of the data never are."""
        pieces, ids, position, strips = list[str](), list[int](), 0, False
        for match in self.known.finditer(text):
            i, token = self.controls[match[0]]
            before = text[position : match.start()]
            before = before.lstrip() if strips else before
            pieces.append(before.rstrip() if token.lstrip else before)
            ids.append(i)
            position, strips = match.end(), token.rstrip
        pieces.append(text[position:].lstrip() if strips else text[position:])
        return _Literal(self.mark.join(pieces), tuple(ids))

    def _rendered(self, roles: Sequence[str], contents: Sequence[str]) -> str:
        turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
        try:
            return self._whole(turns)
        except EngineError:
            if len(turns) < 2 or roles[0] != "system":
                raise
        # Gemma and the first Mistral models have no system turn.
        system, first, *others = turns
        return self._whole([first | {"content": f"{system['content']}\n\n{first['content']}"}, *others])

    def _whole(self, turns: Sequence[Mapping[str, str]]) -> str:
        """The rendered template, checked to hold every content."""
        from jinja2 import TemplateError

        try:
            render = functools.partial(self.tokenizer.apply_chat_template, tokenize=False, add_generation_prompt=True)
            rendered = str(render(turns, strftime_now=_date))
        except (TemplateError, ValueError, TypeError) as error:
            raise EngineError(f"the model's chat template does not take this conversation: {error}") from error
        if any(text.strip() not in rendered for turn in turns for text in turn["content"].split("\n\n")):
            raise EngineError("the model's chat template leaves out or rewrites a turn; it cannot be filled safely")
        return rendered


def _date(form: str) -> str:
    """Llama 3.2 and others write today's date, so that a row would differ from day to day: it is always theirs."""
    return datetime.date(2024, 7, 26).strftime(form)


def _roles(messages: Sequence[Message]) -> tuple[str, ...]:
    return tuple(message["role"] for message in messages)


def _content(text: str, turn: _Turn, escaped: bool) -> str:
    text = text.lstrip() if turn.left else text
    text = text.rstrip() if turn.right else text
    return control.escape(text)[0] if escaped else text


def _is_mark(token: Any) -> bool:
    """Whether an added token that is not special is more than a piece of text, as blanks, words and letters are."""
    text = token.content
    return len(text) > 1 and any(not (c.isalnum() or c.isspace() or c in "▁'-.") for c in text)


def _as_special(token: Any) -> Any:
    from tokenizers import AddedToken

    return AddedToken(token.content, normalized=token.normalized, special=True)


def _unknown(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """The token of characters that the vocabulary has not, which any text may hold."""
    return None if tokenizer.unk_token_id == tokenizer.eos_token_id else tokenizer.unk_token_id
