"""From what people write after ``-r`` to a store."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from snap.errors import UsageError

from .base import Backend
from .local import LocalBackend
from .retry import RetryingBackend


def open_backend(location: str) -> Backend:
    """Return the store at ``location``, a folder or ``file:///folder``, with its wrappers.

    Raises:
        UsageError: not a location that this version can open.
    """
    if not location:
        raise UsageError("the repository's place is empty", "give it with -r or SNAP_REPOSITORY")
    scheme, separator, _ = location.partition("://")
    if not separator:
        return RetryingBackend(LocalBackend(Path(location).expanduser()))
    if scheme == "file":
        parts = urlsplit(location)
        if parts.netloc not in ("", "localhost"):
            raise UsageError(f"{location} names another host", "write file:///folder")
        return RetryingBackend(LocalBackend(Path(unquote(parts.path))))
    if scheme in ("sftp", "s3"):
        raise UsageError(f"{scheme}:// is not supported by this version yet", "use a folder")
    raise UsageError(f"unknown kind of repository: {scheme}://", "use a folder")
