"""What ``sftp://user@host:port/path`` names."""

from dataclasses import dataclass
from urllib.parse import quote, unquote

from snap.errors import UsageError


@dataclass(frozen=True, slots=True)
class SftpPlace:
    """A folder on a server.

    Attributes:
        host: A name, an address, or a ``Host`` of the ssh configuration.
        path: From the server's root, or from the user's home where it does not begin with ``/``.
        user: None leaves it to the ssh configuration.
        port: The same.
    """

    host: str
    path: str
    user: str | None = None
    port: int | None = None

    @property
    def location(self) -> str:
        """Return it as people write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        path = self.path.replace("%", "%25")
        path = path if path.startswith("/") else f"/~/{path}"
        return f"sftp://{user}{host}{port}{path}"


def place_of_url(rest: str) -> SftpPlace:
    """Return what the part of a URL behind ``sftp://`` names.

    No message repeats it: what is not written as it should be may hold a password anywhere.

    Raises:
        UsageError: it names no folder of a server, or holds a password.
    """
    # Not urlsplit: a folder's name may hold "?" and "#", which it would drop without a word.
    authority, slash, path = rest.partition("/")
    userinfo, at, host_and_port = authority.rpartition("@")
    if ":" in userinfo or "@" in userinfo:
        raise UsageError(
            "the sftp:// location holds a password",
            "take it out: keys and ~/.ssh/config are used, as ssh uses them",
        )
    host, port = _host_and_port(host_and_port)
    if not slash:
        raise UsageError("the sftp:// location names no folder", _FORM)
    if at and not userinfo:
        raise UsageError("the sftp:// location has an empty user's name", _FORM)
    return SftpPlace(host, _folder(unquote(path)), unquote(userinfo) or None, port)


_FORM = "write sftp://user@host:port/folder, or sftp://host/~/folder for one in the home folder"


def _host_and_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or rest[:1] not in ("", ":"):
            raise UsageError("the sftp:// location has a [ without its ]", _FORM)
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = text.partition(":")
    # ssh itself would take a host that begins with "-" for an option.
    if not host or host.startswith("-"):
        raise UsageError("the sftp:// location names no host", _FORM)
    if not colon:
        return host, None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError("the port in the sftp:// location is not one", _FORM)
    return host, int(port)


def _folder(path: str) -> str:
    if "\0" in path:
        raise UsageError("the sftp:// location has a zero byte in it", "leave it out")
    first, _, rest = path.partition("/")
    if first == "~":
        return rest.strip("/") or "."
    return "/" + path.strip("/")
