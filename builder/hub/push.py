"""A folder to the Hub: only the files named, resumable, private unless asked otherwise, and tagged."""

import contextlib
import itertools
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from builder import tables
from builder.errors import WimError
from builder.hub.folder import CARD, TAG, matches

Kind = Literal["dataset", "model"]


@dataclass(frozen=True)
class Pushed:
    """Where it went: the repository, the commit, its tag, and whether others can see it."""

    repo: str
    commit: str
    tag: str
    private: bool


def target(repo: str | None, arms: Collection[str], push: bool) -> str | None:
    """The repository, with the arm in place of ``{arm}``.

    Raises WimError if its name is malformed, or if for a ``push`` it or the token is missing.
    """
    if push and not repo:
        raise WimError(
            "publish: --push needs the name of a repository: --repo OWNER/NAME (of a dataset also publish.repo)"
        )
    if push:
        _token()
    if repo and "{arm}" in repo:
        if len(arms) > 1 or "" in arms:
            told = ", ".join(sorted(filter(None, arms))) or "none"
            raise WimError(f"publish: {repo}: the runs are of the arms {told}, and not of one")
        repo = repo.replace("{arm}", next(iter(arms)))
    if repo:
        check_name(repo)
    return repo


def check_name(repo: str) -> None:
    """Raises WimError if this cannot be the name of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
        fine = repo.count("/") == 1
        why = "there is no owner in it"
    except HFValidationError as error:
        fine, why = False, tables.first_line(error)
    if not fine:
        raise WimError(f"publish: {repo!r} is no name of a repository: OWNER/NAME is wanted; {why}")


def push(
    folder: Path, files: Sequence[str], repo: str, kind: Kind, tag: str, public: bool, stale: Sequence[str] = ()
) -> Pushed:
    """Send ``files``, and nothing else of ``folder``, as a commit to ``repo``; tag it.

    What is there already is not sent again: after a failure the same call sends the rest. Files of an earlier
    publication that match one of ``stale`` and are not sent now are removed. A tag is never moved: where ``tag`` names
    another commit, the new one is ``TAG.2``, and so on. Raises WimError, in one line without the token; nothing is
    sent where everybody would see it unasked, or where it would take the place of what was not published here.
    """
    from huggingface_hub import HfApi

    token = _token()
    quiet_unless_watched()
    with _told(repo, token):
        api = HfApi(token=token)
        api.create_repo(repo, repo_type=kind, private=not public, exist_ok=True)
        there = api.repo_info(repo, repo_type=kind)
        private = bool(there.private)
        if not private and not public:
            raise WimError(f"publish: {repo} exists and everybody can see it: --public says that this is meant")
        _check_ours(there, repo, (*map(_literal, files), *stale))
        commit = api.upload_folder(
            repo_id=repo,
            repo_type=kind,
            folder_path=folder,
            allow_patterns=[_literal(name) for name in files],
            delete_patterns=list(stale) or None,
            commit_message=f"wim publish: {tag}",
        ).oid
        tagged = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo, repo_type=kind).tags}
        free = _free(tag, tagged, commit)
        if free not in tagged:
            api.create_tag(repo, tag=free, revision=commit, repo_type=kind)
    return Pushed(repo, commit, free, private)


def _token() -> str:
    from huggingface_hub import get_token

    token: str | None = get_token()
    if not token:
        raise WimError("publish: there is no token of the Hub: `hf auth login`, or set HF_TOKEN")
    return token


def _check_ours(there: Any, repo: str, patterns: Sequence[str]) -> None:
    """Raises WimError if a repository that has a card without TAG holds files that match one of ``patterns``.

    A card alone, as the Hub makes it with a licence, stands for nothing yet.
    """
    names = sorted(file.rfilename for file in there.siblings or ())
    tags = (there.card_data.get("tags") if there.card_data else None) or ()
    replaced = [name for name in names if name != CARD and matches(name, patterns)]
    if CARD in names and TAG not in tags and replaced:
        told = f"its {CARD} is of somebody else, and {replaced[0]} would be replaced; take another repository"
        raise WimError(f"publish: {repo} was not written by `wim publish`: {told}")


def _literal(name: str) -> str:
    """A pattern that matches nothing but the name."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _free(tag: str, tagged: Mapping[str, str], commit: str) -> str:
    """The first of TAG, TAG.2, TAG.3 that is not taken, or that is this commit's already."""
    names = itertools.chain([tag], (f"{tag}.{n}" for n in itertools.count(2)))
    return next(name for name in names if tagged.get(name, commit) == commit)


def quiet_unless_watched() -> None:
    """The client's progress bars are for people."""
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()


@contextlib.contextmanager
def _told(repo: str, token: str) -> Iterator[None]:
    """What the client raises, as one line for people."""
    from huggingface_hub.errors import HTTPError  # of its HTTP client, which differs from version to version

    try:
        yield
    except (HTTPError, OSError, ValueError, RuntimeError) as error:  # the client's own errors are of these
        told = f"publish: pushing to {repo} failed: {_reason(error)}"
        raise WimError(told.replace(token, "(the token)")) from error


def _reason(error: BaseException) -> str:
    """Of an upload's error (`Error while uploading ...`) its cause, of the Hub's answers what is to be done."""
    cause: Any = error.__cause__ if type(error) is RuntimeError and error.__cause__ else error
    status = getattr(getattr(cause, "response", None), "status_code", None)
    known = {
        401: "the Hub does not accept the token (401): `hf auth login`, or set HF_TOKEN to another one",
        403: "the token may not do that (403): it needs the right to write there",
    }
    if status in known:
        return known[status]
    said = tables.first_line(cause)
    broken = status is None or status >= 500
    return f"{said}; what has arrived is kept, the same command goes on from there" if broken else said
