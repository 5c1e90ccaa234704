"""What an ``s3://`` URL says: bucket, prefix, server, and the classes of what is stored."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from snap.errors import UsageError

from .base import check_name

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CLASS = re.compile(r"[A-Z][A-Z0-9_]*")
_ASLEEP = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Classes whose objects cannot be read until somebody has them brought back, which takes hours."""

_DATA = ("data/", "probe/data-")
"""Packs, and what `probe` tries their storage class with."""

_FORM = "write s3://BUCKET/PREFIX, with ?endpoint=URL&region=NAME where the server is not Amazon's"


@dataclass(frozen=True, slots=True)
class S3Place:
    """Where objects go.

    Attributes:
        bucket: The bucket, which must exist.
        prefix: What all keys begin with: empty, or ending with a slash.
        endpoint: The server's URL; None is Amazon's, or what AWS_ENDPOINT_URL says.
        region: The bucket's region; None leaves it to AWS_REGION and the profile.
        profile: Name of a profile of ``~/.aws``; None leaves it to AWS_PROFILE.
        data_class: Storage class of objects under ``data/``; None is the bucket's usual one.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    data_class: str | None = None

    @property
    def shown(self) -> str:
        """Return the place as people know it; it holds no secret."""
        at = f" at {self.endpoint}" if self.endpoint else ""
        return f"s3://{self.bucket}/{self.prefix.rstrip('/')}{at}"

    def storage_class(self, name: str) -> str | None:
        """Return the storage class of an object; all but packs of data is small and read often."""
        return self.data_class if name.startswith(_DATA) else None


def parse_place(url: str) -> S3Place:
    """Return what an ``s3://`` URL means.

    Raises:
        UsageError: it is none, or holds credentials. The message does not repeat them.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"not an S3 place: {error}", _FORM) from error
    if "@" in parts.netloc:
        raise UsageError(
            "the place of an S3 repository holds no credentials: process lists show it",
            "leave them out; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        )
    if parts.fragment:
        raise UsageError(f"an S3 place has no '#': {parts.fragment!r}", _FORM)
    query = _query(parts.query)
    if not _BUCKET.fullmatch(parts.netloc):
        raise UsageError(f"not the name of a bucket: {parts.netloc!r}", _FORM)
    return S3Place(
        bucket=parts.netloc,
        prefix=_prefix(unquote(parts.path)),
        endpoint=_endpoint(query.pop("endpoint", None)),
        region=query.pop("region", None),
        profile=query.pop("profile", None),
        data_class=_class(query.pop("data_class", None)),
    )


_KNOWN = frozenset({"endpoint", "region", "profile", "data_class"})


def _query(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True)
    for name, value in pairs:
        if name not in _KNOWN:
            # Not the value: what people put here by mistake is a secret key.
            raise UsageError(
                f"an S3 place has no setting {name!r}",
                f"it has {', '.join(sorted(_KNOWN))}; credentials come from AWS_* or a profile",
            )
        if not value:
            raise UsageError(f"{name}= is empty in the S3 place", "give it a value or leave it out")
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UsageError("a setting stands twice in the S3 place", _FORM)
    return found


def _prefix(path: str) -> str:
    prefix = path.strip("/")
    if not prefix:
        return ""
    try:
        return check_name(prefix) + "/"
    except UsageError as error:
        raise UsageError(
            f"not a prefix for an S3 place: {prefix!r}",
            "use letters, digits, '.', '_' and '-', in parts joined by '/'",
        ) from error


def _endpoint(url: str | None) -> str | None:
    if url is None:
        return None
    if "://" not in url:
        url = f"https://{url}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if "@" in url:
        raise UsageError(
            "the endpoint of an S3 place holds no credentials: process lists show it",
            "leave them out; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        )
    if not good or parts.query or parts.fragment:
        raise UsageError(f"not the URL of an S3 server: {url!r}", "write https://HOST or HOST:PORT")
    return url.rstrip("/")


def _class(name: str | None) -> str | None:
    if name is None:
        return None
    if not _CLASS.fullmatch(name):
        raise UsageError(f"not a storage class: {name!r}", "write one such as GLACIER_IR")
    if name in _ASLEEP:
        raise UsageError(
            f"objects of the class {name} cannot be read when they are needed",
            "use GLACIER_IR, which costs about the same and is read at once",
        )
    return name
