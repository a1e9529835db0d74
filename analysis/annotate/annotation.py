"""One annotator's way through the queue: what is shown, what is saved, what is taken back, what is told afterwards."""

from collections.abc import Sequence
from typing import Any

from analysis.annotate import answers
from analysis.annotate.answers import Answer
from analysis.annotate.queue import Item, Mode
from analysis.annotate.refusal import Refused
from analysis.annotate.store import Store, Stored
from analysis.annotate.texts import SCALE, Texts
from builder import ids

SIDES = {"a": 0, "b": 1}


class Annotation:
    """A run's questions to its annotators. Every method gives what the page is told, as JSON has it."""

    def __init__(
        self, texts: Texts, queue: Sequence[Item], store: Store, mode: Mode, seed: int, only: str | None = None
    ) -> None:
        """``seed``: of the order in which the two of a pair are shown. ``only``: the one annotator, if there is one."""
        self.texts, self.queue, self.store, self.mode, self.seed = texts, queue, store, mode, seed
        self.only = store.enter(answers.name(only)) if only is not None else None
        self.place = {item.item_id: place for place, item in enumerate(queue)}

    def start(self) -> dict[str, Any]:
        """What there is to do, and who has begun."""
        names = self.store.annotators() if self.only is None else [self.only]
        return {
            "mode": self.mode,
            "only": self.only,
            "scale": list(SCALE),
            "most_letters": answers.MOST_LETTERS,
            "name_letters": answers.NAME_LETTERS,
            "annotators": [{"name": name, **self.progress(name)} for name in names],
        }

    def enter(self, given: str) -> dict[str, Any]:
        """The annotator of this name, known or new."""
        name = answers.name(given)
        if self.only is not None and name.casefold() != self.only.casefold():
            raise Refused(403, f"Only {self.only} annotates here.")
        name = self.store.enter(name)
        return {"name": name, **self.progress(name)}

    def who(self, name: str) -> str:
        """The name, as somebody who may annotate here has given it. Raises Refused."""
        if name not in (self.store.annotators() if self.only is None else [self.only]):
            raise Refused(404, "This annotator is not known; say your name again.")
        return name

    def progress(self, name: str) -> dict[str, Any]:
        """Counts of the queue; ``last``: the answer that can be taken back, which is never one to another queue."""
        answered = self.store.answered(name, self.mode)
        statuses = [answered[item.item_id] for item in self.queue if item.item_id in answered]
        skipped = statuses.count("skipped")
        counts = {"total": len(self.queue), "done": len(statuses) - skipped, "skipped": skipped}
        last = self.store.last(name, self.mode)
        return counts | {"last": last.answer_id if last and last.item.item_id in self.place else None}

    def view(self, name: str, place: int | None = None) -> dict[str, Any]:
        """The item at a place, counted from 0, or the first without an answer; ``item`` is None where all have one."""
        if place is None:
            answered = self.store.answered(name, self.mode)
            place = next((i for i, item in enumerate(self.queue) if item.item_id not in answered), None)
        if place is None or not 0 <= place < len(self.queue):
            return {"progress": self.progress(name), "item": None}
        item = self.queue[place]
        stored = self.store.of(name, item)
        shown = {
            "item_id": item.item_id,
            "place": place,
            "prompt": self.texts.prompt(item.prompt_id)["messages"],
            "completions": [self.texts.completion(each)["text"] for each in self._shown(name, item)],
            "answer": self._told(name, stored) if stored else None,
        }
        return {"progress": self.progress(name), "item": shown}

    def save(self, name: str, item_id: str, key: str, given: dict[str, Any]) -> dict[str, Any]:
        """The next open question, once the answer is on the disk; ``saved`` is the answer's id."""
        item = self._item(item_id)
        answer = answers.read(given, self.mode, self._turned(name, item))
        first = "b" if self._turned(name, item) else "a"
        answer_id = self.store.save(name, self.mode, item, answer, first, key)
        return {"saved": answer_id, **self.view(name)}

    def undo(self, name: str, answer_id: int) -> dict[str, Any]:
        """The item whose answer was taken back, and ``undone``: the answer, to start again from. Raises Refused."""
        last = self.store.last(name, self.mode)
        if last and last.answer_id == answer_id:
            self._item(last.item.item_id)
        stored = self.store.undo(name, self.mode, answer_id)
        return self.view(name, self.place.get(stored.item.item_id)) | {"undone": self._told(name, stored)}

    def reveal(self, name: str, item_id: str) -> dict[str, Any]:
        """What the judges said of the item's texts. Raises Refused before the annotator has answered."""
        item = self._item(item_id)
        stored = self.store.of(name, item)
        if stored is None or stored.answer.status == "skipped":
            raise Refused(409, "What the judge said is shown after you have answered.")
        self.store.show(name, item)
        return {"said": [[vars(each) for each in self.texts.said(c)] for c in self._shown(name, item)]}

    def _item(self, item_id: str) -> Item:
        if item_id not in self.place:
            raise Refused(404, "There is no such question in this queue.")
        return self.queue[self.place[item_id]]

    def _turned(self, name: str, item: Item) -> bool:
        """Whether b is shown first: a coin for each annotator and item, which always falls the same way."""
        return len(item.completions) == 2 and ids.uniform_of(self.seed, f"{name}\n{item.item_id}") < 0.5

    def _shown(self, name: str, item: Item) -> tuple[str, ...]:
        return item.completions[::-1] if self._turned(name, item) else item.completions

    def _told(self, name: str, stored: Stored) -> dict[str, Any]:
        """An answer as the page shows it to who gave it."""
        answer: Answer = stored.answer
        choice = None
        if answer.side is not None:
            shown = "first", "second"
            turned = self._turned(name, stored.item)
            choice = "tie" if answer.side == "tie" else shown[SIDES[answer.side] ^ turned]
        return {
            "status": answer.status,
            "feedback": answer.feedback,
            "rating": answer.rating,
            "choice": choice,
            "informed": stored.informed,
        }
