"""A command works on copies of what lies at URLs; what it has made is sent when it is done.

Before the command a copy is made to be what is there: what a failed command left in it goes. After it, what it
changed is sent in the order in which it was made, so that a table never comes before what it was made from, or, to
the Hub, in one commit. Nothing is sent over what somebody else has changed since. What could not be sent, for want of
a network, say, is sent by the next command: it may be days of work.
"""

import contextlib
import filecmp
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NoReturn

from builder import rows, tables
from builder.errors import StorageError
from builder.remote import commits
from builder.remote.copies import KNOWN, Copies
from builder.remote.locations import COPIES, Place
from builder.remote.objects import Object, Objects, told

SHARED = ("prompts.parquet", "heldout.parquet")
"""What a run takes from the folders above it: ``tables.find``."""
KEPT = "; what was made is kept here, and any command on this URL sends it"
COMMITS = 5
"""How often a commit is tried while others commit to the same repository."""


@contextlib.contextmanager
def copied(places: Sequence[Place]) -> Iterator[None]:
    """While the block runs, the copies are there; if it ends without an error, what changed is sent.

    Raises StorageError, which names the URL, if a place cannot be read or written, or was changed by others meanwhile.
    """
    with contextlib.ExitStack() as held:
        for place in sorted(places, key=lambda place: place.url, reverse=True):  # in one order: nobody waits in a ring
            held.enter_context(rows.reading(COPIES / place.scheme))  # `wim clean` leaves it alone
            held.enter_context(_lock(place.scheme, place.key))
        transfers = [Transfer(place) for place in places]
        for transfer in transfers:
            transfer.fetch(held_too={place.key for place in places})
        yield
        for transfer in transfers:
            transfer.decide()
        for transfer in transfers:
            transfer.check()
        for transfer in transfers:
            transfer.send()


def _lock(scheme: str, key: str) -> contextlib.AbstractContextManager[bool]:
    return rows.lock(COPIES / scheme / KNOWN / key, what=f"{scheme}://{key}")


class Transfer:
    """Between a place and its copy."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.copies = Copies(place)
        with told(place):
            self.objects = Objects(place)

    # Before the command ----------------------------------------------------------------------------------------------

    def fetch(self, held_too: set[str]) -> None:
        """Make the copy what is there, after sending what an earlier command could not. ``held_too``: keys."""
        if self.copies.unsent():
            self.check()
            self.send()
        with told(self.place):
            there = self._mirror(self.objects.listed, self.copies.keys())
            for name in SHARED if self.place.inherits else ():
                if f"{self.place.key}/{name}" not in there:
                    self._fetch_shared(name, held_too)

    def _fetch_shared(self, name: str, held: set[str]) -> None:
        """The table of the nearest folder above that has it."""
        for folder in self.place.above():
            key = f"{folder}/{name}"
            with contextlib.nullcontext() if folder in held else _lock(self.place.scheme, folder):
                if self._mirror(partial(self.objects.one, key), {key}):
                    return

    def _mirror(self, look: Callable[[], dict[str, Object]], here: set[str]) -> dict[str, Object]:
        """Make the copies what ``look`` sees, and no others of those ``here``; what it sees."""
        there = look()
        for key in here - there.keys():
            self.copies.remove(key)
        stale = [key for key, found in there.items() if not self._is_copy(key, found)]
        for key in stale:
            self._load(key, there[key])
        if stale and look() != there:
            raise StorageError(f"{self.place.url}: was changed while it was read; run the same command again")
        return there

    def _is_copy(self, key: str, found: Object) -> bool:
        return not self.copies.is_changed(key) and self.copies.version(key) == found.version

    def _load(self, key: str, found: Object) -> None:
        file = self.copies.file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = tables.temporary_of(file)
        try:
            self.objects.get(key, temporary)
            tables.publish_file(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)
        self.copies.note(key, found.version)

    # After it --------------------------------------------------------------------------------------------------------

    def decide(self) -> None:
        """What is to be sent is what the command has changed until now."""
        self.copies.set_unsent(self.copies.changed())

    def check(self) -> None:
        """Raises StorageError, and gives it up, if somebody else has changed what is to be sent."""
        with told(self.place, KEPT):
            for key in self.copies.unsent():
                self._check(key)

    def _check(self, key: str) -> None:
        found = self.objects.one(key).get(key)
        if (found.version if found else None) == self.copies.version(key):
            return
        if self._is_equal(key, found):  # the same command on another machine, or our own whose answer was lost
            self.copies.note(key, found.version if found else None)
            return
        self._give_up(key)

    def _is_equal(self, key: str, found: Object | None) -> bool:
        file = self.copies.file(key)
        if found is None or not file.is_file():
            return found is None and not file.is_file()
        if found.size != file.stat().st_size:
            return False
        temporary = tables.temporary_of(file)
        try:
            self.objects.get(key, temporary)
            return filecmp.cmp(temporary, file, shallow=False)
        finally:
            temporary.unlink(missing_ok=True)

    def _give_up(self, key: str) -> NoReturn:
        self.copies.set_unsent([])
        what = "was changed by somebody else since this command read it, and is left as it is"
        raise StorageError(f"{self.place.scheme}://{key}: {what}; run the same command again")

    def send(self) -> None:
        """Send what was decided, and say how much it was."""
        keys = self.copies.unsent()
        files = [file for file in map(self.copies.file, keys) if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        with told(self.place, KEPT):
            if self.place.scheme == "hf":
                self._commit()
            else:
                for key in keys:
                    self._send(key)
        self.copies.set_unsent([])
        if keys:
            gone = f", {len(keys) - len(files):,} removed" if len(keys) > len(files) else ""
            print(f"{self.place.url}: {len(files):,} sent ({size / 1e6:,.1f} MB){gone}", file=sys.stderr)

    def _send(self, key: str) -> None:
        file = self.copies.file(key)
        try:
            if file.is_file():
                self.objects.put(key, file, self.copies.version(key))
            else:
                self.objects.remove(key)
        except Exception:  # each library has errors of its own
            self._check(key)
            if self.copies.is_changed(key):
                raise
        self._note(key)

    def _note(self, key: str) -> None:
        file, found = self.copies.file(key), self.objects.one(key).get(key)
        if not file.is_file():
            self.copies.note(key, None)
        elif found and found.size == file.stat().st_size:
            self.copies.note(key, found.version)

    def _commit(self) -> None:
        for left in reversed(range(COMMITS)):
            parent = commits.head(self.objects.files, self.place)
            self.check()
            files = {key: self.copies.file(key) for key in self.copies.unsent()}
            try:
                changes = {key: file if file.is_file() else None for key, file in files.items()}
                if changes:
                    commits.commit(self.objects.files, self.place, changes, parent)
                break
            except commits.Moved:
                if not left:
                    raise
        for key in files:
            self._note(key)
