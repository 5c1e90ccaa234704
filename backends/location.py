"""From what people write after ``-r`` to a store."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from snap.errors import UsageError

from .base import Backend, BackendError, BackendUnavailable
from .local import LocalBackend
from .retry import RetryingBackend
from .s3 import S3Backend
from .s3_place import parse_place
from .sftp_place import place_of_url
from .throttle import Limits, ThrottledBackend


def open_backend(
    location: str,
    limits: Limits | None = None,
    *,
    tell: Callable[[BackendUnavailable], None] | None = None,
) -> Backend:
    """Return the store at ``location``, with its wrappers.

    A folder, ``file:///folder``, ``sftp://user@host:port/folder`` or ``s3://bucket/prefix``. What
    is tried again counts for the limits as often as it is tried; ``tell`` hears of it.

    Raises:
        UsageError: not a location that this version can open.
        BackendError: what it takes is not installed.
    """
    store = _open(location)
    if limits is not None and limits != Limits():
        store = ThrottledBackend(store, limits)
    return RetryingBackend(store, tell=tell)


_KINDS = "write a folder, sftp://user@host/folder or s3://BUCKET/PREFIX"


def _open(location: str) -> Backend:
    if not location:
        raise UsageError("the repository's place is empty", "give it with -r or SNAP_REPOSITORY")
    scheme, separator, rest = location.partition("://")
    if location.startswith("sftp:") and scheme != "sftp":
        # As restic has it: a folder of this name would be made, and the backup stay here.
        raise UsageError("an SSH server's folder has another form", "write sftp://user@host/folder")
    if location.startswith("s3:") and scheme != "s3":
        raise UsageError(
            "a place in S3 has another form", "write s3://BUCKET/PREFIX?endpoint=https://HOST"
        )
    if not separator:
        return LocalBackend(_folder(location))
    if scheme == "file":
        return LocalBackend(_folder_of_url(location, rest))
    if scheme == "sftp":
        return _sftp(rest)
    if scheme == "s3":
        return S3Backend(parse_place(location))
    raise UsageError(f"unknown kind of repository: {scheme}://", _KINDS)


def _sftp(rest: str) -> Backend:
    place = place_of_url(rest)
    try:
        # An extra, and as slow to load as some commands are.
        from .sftp import SftpBackend  # noqa: PLC0415 - as said
    except ImportError as error:
        raise BackendError(
            "a repository on an SSH server takes asyncssh", "pip install 'snap-backup[ssh]'"
        ) from error
    return SftpBackend(place)


def _folder_of_url(location: str, rest: str) -> Path:
    # Not urlsplit: a folder's name may hold "?" and "#", which it would drop without a word.
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost"):
        raise UsageError(f"{location} names another host", "write file:///folder")
    if not slash:
        raise UsageError(f"{location} names no folder", "write file:///folder")
    return _folder("/" + unquote(path))


def _folder(text: str) -> Path:
    if "\0" in text:
        raise UsageError(f"not a folder's name: {text!r}", "leave the zero byte out")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        # What pathlib raises for a "~name" that no user has.
        raise UsageError(
            f"{text}: there is no such user", "write the folder in full, or begin it with ./"
        ) from error
