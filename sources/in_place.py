"""Putting a database back where it lives: staged beside it, proven, exchanged, proven again.

At every moment what has the database's name is whole, the old or the new: a restore that is killed
leaves one of them, and at most a folder ``.snap-in-place-...`` beside it.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from snap.errors import SnapError, TargetError
from snap.repo.source import Source

from .abandoned import abandoned_in, own_token

_WORKSPACE_PREFIX = ".snap-in-place-"


class InUse(TargetError):
    """Something uses what is to be replaced."""


class LivePlace(Protocol):
    """A database where it lives. A restore goes through these steps in this order."""

    @property
    def path(self) -> Path:
        """The file or folder that is replaced; it may be missing."""
        ...

    def users(self) -> list[str]:
        """Return who uses it, for people; also who still uses what was replaced."""
        ...

    def sources(self, name: str, spool_dir: Path) -> Sequence[Source]:
        """Return what keeps the state that is there now, as components of this name."""
        ...

    def plain_files(self, name: str) -> Sequence[Source]:
        """Return what keeps it as it lies there, where `sources` cannot: it is damaged."""
        ...

    def settle(self) -> None:
        """Make whole what its programs left half done, as far as that can be.

        Raises nothing: what is broken is replaced all the same.
        """
        ...

    def fingerprint(self) -> object:
        """Return something that differs when anybody wrote to it; None where nothing is."""
        ...

    def prove_staged(self, folder: Path) -> list[str]:
        """Return what was proven of the new state in ``folder``.

        Raises:
            IntegrityError: it is not what was recorded.
        """
        ...

    def swap(self, folder: Path) -> None:
        """Put the new state in place and the old one beside or into ``folder``, which it was in.

        All or nothing, durable on return. The folder above ``folder`` is there for it as well.

        Raises:
            OSError, TargetError: it could not be done; everything is as before.
        """
        ...

    def put_back(self, folder: Path) -> None:
        """Undo `swap`."""
        ...

    def prove(self) -> list[str]:
        """Return what was proven through the front door, as its programs will open it.

        Raises:
            SnapError: it is not what was recorded.
        """
        ...


@dataclass(slots=True)
class Replaced:
    """What a restore in place did."""

    proofs: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def replace_in_place(
    place: LivePlace, *, save: Callable[[], None], fill: Callable[[Path], None]
) -> Replaced:
    """Replace a database by what ``fill`` writes into an empty folder beside it.

    ``save`` keeps what is there in a snapshot; it is called before anything is written, and not
    where there is nothing.

    Raises:
        InUse: something uses it; nothing was changed.
        SnapError: anything else; the old state is in its place, and the message says so.
    """
    result = Replaced()
    _require_unused(place)
    place.settle()
    before = place.fingerprint()
    if before is not None:
        save()
    with _workspace(place.path, result.warnings) as folder:
        staged = folder / "new"
        staged.mkdir()
        fill(staged)
        result.proofs += place.prove_staged(staged)
        _require_unused(place)
        if place.fingerprint() != before:
            raise TargetError(
                f"{place.path} was written to while its replacement was prepared; it is unchanged",
                "stop what writes to it, then restore again",
            )
        _exchange(place, staged, result)
    return result


def _exchange(place: LivePlace, folder: Path, result: Replaced) -> None:
    try:
        place.swap(folder)
    except OSError as error:
        raise TargetError(
            f"{place.path} could not be replaced and is unchanged: {error.strerror or error}",
            "restore with --target, and move it into place by hand",
        ) from error
    try:
        # Who opened it just before holds the old one now, and would write to what is thrown away.
        _require_unused(place)
        result.proofs += place.prove()
    except BaseException as error:
        _put_back(place, folder, error)
        raise


def _put_back(place: LivePlace, folder: Path, error: BaseException) -> None:
    reason = str(error) or "interrupted"
    try:
        place.put_back(folder)
    except OSError as again:
        kept = folder.parent.with_name(
            folder.parent.name.replace(_WORKSPACE_PREFIX, ".snap-replaced-", 1)
        )
        os.rename(folder.parent, kept)
        raise TargetError(
            f"{reason}; and what was there before could not be put back: {again.strerror}",
            f"what was there before is in {kept}",
        ) from error
    if isinstance(error, (SnapError, OSError)):
        raise TargetError(
            f"{reason}; what was there before is back in its place",
            getattr(error, "hint", ""),
        ) from error


def _require_unused(place: LivePlace) -> None:
    users = place.users()
    if users:
        more = f" and {len(users) - 3} more" if len(users) > 3 else ""
        raise InUse(
            f"{place.path} is in use by {', '.join(users[:3])}{more}",
            "stop it, then restore again; nothing was changed",
        )


@contextmanager
def _workspace(live: Path, warnings: list[str]) -> Iterator[Path]:
    """Give an empty folder on the same file system, removed at the end."""
    parent = live.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(live, warnings)
        folder = parent / f"{_WORKSPACE_PREFIX}{live.name}-{own_token()}"
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise TargetError(
            f"cannot make a folder beside {live}: {error.strerror}",
            "restore as a user who may write there, or with --target",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(live: Path, warnings: list[str]) -> None:
    """Remove what restores that were killed left: all of it is in snapshots."""
    for folder in abandoned_in(live.parent, f"{_WORKSPACE_PREFIX}{live.name}-"):
        shutil.rmtree(folder, ignore_errors=True)
        warnings.append(f"{folder}, which an interrupted restore left, was removed")
