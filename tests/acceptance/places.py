"""Where a repository can lie, and what is stored there, seen from beside snap."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from tests.servers.s3 import Bucket
from tests.servers.sshd import Sshd

from .command import Snap

PLACES = (
    "local",
    pytest.param("sftp", marks=pytest.mark.slow),
    pytest.param("s3", marks=pytest.mark.slow),
)
"""What the tests of the foundation run against."""


class Place(Protocol):
    """The objects of a repository, by name."""

    kind: str
    variables: dict[str, str]

    @property
    def url(self) -> str: ...

    def names(self, prefix: str = "") -> list[str]: ...

    def read(self, name: str) -> bytes: ...

    def write(self, name: str, data: bytes) -> None: ...

    def remove(self, name: str) -> None: ...


@dataclass
class FolderPlace:
    """A folder of this machine, which may be an SSH server's as well."""

    kind: str
    root: Path
    url: str
    variables: dict[str, str] = field(default_factory=dict)

    def names(self, prefix: str = "") -> list[str]:
        found = (path for path in (self.root / prefix).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    def remove(self, name: str) -> None:
        (self.root / name).unlink()


@dataclass
class BucketPlace:
    """A prefix of a bucket."""

    bucket: Bucket
    kind: str = "s3"
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.bucket.url

    @property
    def _prefix(self) -> str:
        return self.url.split("?")[0].removeprefix(f"s3://{self.bucket.name}/") + "/"

    def names(self, prefix: str = "") -> list[str]:
        below = self._prefix + prefix
        keys = (key for key in self.bucket.listed() if key.startswith(below))
        return sorted(key.removeprefix(self._prefix) for key in keys)

    def read(self, name: str) -> bytes:
        return self.bucket.raw(self._prefix + name)

    def write(self, name: str, data: bytes) -> None:
        self.bucket.overwrite(self._prefix + name, data)

    def remove(self, name: str) -> None:
        self.bucket.remove(self._prefix + name)


def open_place(kind: str, folder: Path, request: pytest.FixtureRequest) -> Place:
    """Return an empty place of one of `PLACES`; ``folder`` is for a local one."""
    if kind == "local":
        return FolderPlace(kind, folder, str(folder))
    if kind == "s3":
        bucket: Bucket = request.getfixturevalue("bucket")
        return BucketPlace(bucket)
    server: Sshd = request.getfixturevalue("sshd")
    name = secrets.token_hex(4)
    return FolderPlace(kind, server.root / name, server.url(name), {"HOME": str(server.home)})


def snap_at(place: Place, cache: Path) -> Snap:
    """Return snap with its repository there."""
    repository = place.root if isinstance(place, FolderPlace) else Path(place.url)
    return Snap(repository, cache, url=place.url, variables=place.variables)
