"""The `wim` command: parses (arguments.py), calls (calls.py), prints; nothing else."""

import dataclasses
import json
import os
import signal
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from builder.arguments import parser
from builder.errors import UsageError, WimError
from builder.remote import locations

RESUMABLE = ("complete", "judge", "refine", "evaluate", "embed", "build", "train")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point. Exit codes: 0 done, 1 data or environment at fault, 2 wrong usage, 130/143 stopped."""
    arguments = parser().parse_args(argv)
    arguments.words = list(sys.argv[1:] if argv is None else argv)
    stop = _Stop()
    try:
        result = _done(arguments)
        _show(result, arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(_stopped(arguments.name, stop))
    except Exception as error:
        if arguments.debug:
            raise
        if stop.number and not isinstance(error, WimError):  # what a library made of the signal
            sys.exit(_stopped(arguments.name, stop))
        sys.exit(_failed(error))


def _done(arguments: Namespace) -> Any:
    """What the command gives; folders at URLs are there as copies while it runs."""
    places = locations.replaced(arguments)
    if not places:
        return arguments.command(arguments)
    from builder.remote.transfer import copied

    with copied(places):
        return arguments.command(arguments)


class _Stopped(KeyboardInterrupt):
    """Not the plain one: if that has passed an exec() of a library, `python -m` ends without our exit code."""


class _Stop:
    """Ctrl-C and SIGTERM take the way of an error, so that what is finished is kept.

    Those that follow within ``AGAIN`` seconds mean the same stop and do not disturb the keeping: a
    terminal sends Ctrl-C to every process of a pipeline, DVC hands it on, and people press it twice.
    Python's own handler of Ctrl-C would not do: polars replaces it by one that does not end a wait.
    """

    AGAIN = 2.0

    def __init__(self) -> None:
        self.number = 0
        self.at = -self.AGAIN
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as it is in a shell's background
                    signal.signal(number, self._came)

    def _came(self, number: int, frame: FrameType | None) -> None:
        del frame
        if time.monotonic() - self.at < self.AGAIN:
            return
        self.number, self.at = self.number or number, time.monotonic()
        raise _Stopped


def _stopped(command: str, stop: _Stop) -> int:
    kept = "; finished rows are kept: the same command goes on from there" if command in RESUMABLE else ""
    print(f"wim: {command} was stopped{kept}", file=sys.stderr)
    return 128 + (stop.number or signal.SIGINT)


def _failed(error: Exception) -> int:
    """One clear line on stderr; the traceback is for --debug."""
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.filename or ''}: {error.strerror}".lstrip(": ")
    elif not isinstance(error, WimError):
        message = f"{type(error).__name__}: {message} (a fault of wim itself? --debug shows where)"
    print(f"wim: {locations.named(message)}", file=sys.stderr)
    return 2 if isinstance(error, UsageError) else 1


def _show(result: Any, arguments: Namespace) -> None:
    value = result if isinstance(result, (dict, list, str)) else vars(result)
    if arguments.json:
        print(locations.named(json.dumps(value, ensure_ascii=False, default=_plain)))
        return
    text: Callable[[Any], str] | None = getattr(arguments, "text", None)
    if text:
        print(locations.named(text(value)))
    elif isinstance(value, dict):
        print(locations.named("  ".join(f"{key} {_figure(v)}" for key, v in value.items() if v not in (None, {}))))


def _plain(value: Any) -> Any:
    return vars(value) if dataclasses.is_dataclass(value) else str(value)


def _figure(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_figure(entry)}" for name, entry in value.items() if entry != {})
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
