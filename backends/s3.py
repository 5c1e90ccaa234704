"""A bucket of Amazon S3, or of a server that speaks its language.

An object is one key, ``prefix + name``, written by one request (by parts above 64 MiB), so a reader
sees all of it or none. What arrived is proven by the checksum that the server sends back.

A delete is a plain one. Where the bucket keeps versions, which Object Lock makes it do, the object
is gone for every reader and stays as an old version: to take that away is the bucket owner's right.
"""

import base64
import contextlib
import hashlib
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from snap.errors import UsageError

from .base import (
    BackendError,
    BackendUnavailable,
    Buffer,
    ObjectExists,
    ObjectNotFound,
    ObjectStat,
    RetentionUnsupported,
    ShortRead,
    check_name,
    check_prefix,
)
from .s3_body import Body
from .s3_errors import failures, retained, translate_answer, translate_failure
from .s3_place import S3Place

PARALLEL_REQUESTS = 8
"""One connection to S3 carries some 50 MB/s at best and waits a lot: eight fill most lines."""

_PARTS_ABOVE_BYTES = 64 << 20
_PART_BYTES = 16 << 20
_CONNECTIONS = PARALLEL_REQUESTS + 16
"""Uploads, and the reads of a restore beside them."""

_CONNECT_SECONDS = 20.0
_ANSWER_SECONDS = 60.0
"""How long a server may say nothing before it is taken for stuck."""

_NO_LOCK = "ObjectLockConfigurationNotFoundError"
_LOCK_HINT = "make a bucket with Object Lock, or take the retention out of the configuration"
_SECOND_NS = 10**9


class S3Backend:
    """Objects in a bucket. ``answer_seconds`` without a byte from the server end a request.

    Nothing is tried again in here: `RetryingBackend` does that.
    """

    parallel_requests = PARALLEL_REQUESTS

    def __init__(
        self,
        place: S3Place,
        *,
        connect_seconds: float = _CONNECT_SECONDS,
        answer_seconds: float = _ANSWER_SECONDS,
    ) -> None:
        self._place = place
        self._bucket_seen = False
        self._lock_known = False
        self._keeps_deleted = False
        self._client = _connect(place, connect_seconds, answer_seconds)
        self._failures = failures()

    @property
    def location(self) -> str:
        """Return the bucket, the prefix and the server."""
        return self._place.shown

    @property
    def keeps_deleted(self) -> bool:
        """Return whether a deletion was answered with a delete marker: the bucket has versions."""
        return self._keeps_deleted

    def put(
        self,
        name: str,
        data: Buffer,
        *,
        exclusive: bool = False,
        retain_until_ns: int | None = None,
    ) -> None:
        """Store an object.

        Raises:
            BackendUnavailable: also where the server has stored something else.
        """
        asked = self._where(name)
        if (storage_class := self._place.storage_class(name)) is not None:
            asked["StorageClass"] = storage_class
        if retain_until_ns is not None:
            asked |= self._retention(retain_until_ns)
        condition = {"IfNoneMatch": "*"} if exclusive else {}
        try:
            with self._translated("put", name):
                if len(data) > _PARTS_ABOVE_BYTES:
                    self._put_parts(name, data, asked, condition)
                else:
                    self._put_whole(name, data, asked | condition)
        except BackendError as error:
            if exclusive and self._is_taken(error, name):
                raise ObjectExists(f"{name}: exists already in {self.location}") from error
            raise
        if retain_until_ns is not None:
            self._confirm_retention(name)

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return the object or a range of it, by one request."""
        where = self._where(name)
        if length == 0:
            return self._nothing(name, offset)
        end = "" if length is None else offset + length - 1
        if offset or length is not None:
            where["Range"] = f"bytes={offset}-{end}"
        with self._translated("get", name):
            try:
                answer = self._client.get_object(**where)
            except self._client.exceptions.ClientError as error:
                if _status(error.response) == 416:
                    return self._nothing(name, offset, length)
                raise
            with contextlib.closing(answer["Body"]) as body:
                data: bytes = body.read()
        if "Range" not in where:
            return data
        return self._checked_range(name, answer, data, (offset, length))

    def stat(self, name: str) -> ObjectStat:
        """Return size and time."""
        with self._translated("stat", name):
            answer = self._head(name)
            modified_ns = _whole_seconds_ns(answer["LastModified"])
            return ObjectStat(name, int(answer["ContentLength"]), modified_ns)

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        """Yield the objects under ``prefix`` in the order of their names, a thousand a request."""
        check_prefix(prefix)
        asked = {"Bucket": self._place.bucket, "Prefix": self._place.prefix + prefix}
        while True:
            with self._translated("list", prefix):
                page = self._client.list_objects_v2(**asked)
                is_last = not page["IsTruncated"]
                found = [self._listed(entry) for entry in page.get("Contents", ())]
            yield from (stat for stat in found if _is_name(stat.name))
            if is_last:
                return
            token = page.get("NextContinuationToken")
            if not token or token == asked.get("ContinuationToken"):
                raise BackendUnavailable(f"{self.location}: the listing breaks off in the middle")
            asked["ContinuationToken"] = token

    def delete(self, name: str) -> None:
        """Remove an object, by two requests: a deletion alone succeeds for what is not there."""
        found = self._head(name)
        with self._translated("delete", name):
            try:
                answer = self._client.delete_object(**self._where(name))
            except self._client.exceptions.ClientError as error:
                until = _kept_until(found)
                if until and _status(error.response) < 500:
                    raise retained(name, self.location, until) from error
                raise
        # Where versions are suspended, the marker takes the place of what was deleted.
        if answer.get("DeleteMarker") and answer.get("VersionId") != "null":
            self._keeps_deleted = True

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    # Below

    def _where(self, name: str) -> dict[str, Any]:
        return {"Bucket": self._place.bucket, "Key": self._place.prefix + check_name(name)}

    @contextlib.contextmanager
    def _translated(self, operation: str, name: str) -> Iterator[None]:
        try:
            yield
        except self._client.exceptions.ClientError as error:
            raise translate_answer(error.response, operation, name, self.location) from error
        except self._failures as error:
            raise translate_failure(error, name, self.location) from error
        except KeyError as error:
            # Something else than an S3 server, such as a gateway with a page of its own.
            raise BackendUnavailable(
                f"{self.location}: {name}: an answer came that is not of S3: it has no {error}",
                "check the endpoint, and that no proxy answers for it",
            ) from error
        self._bucket_seen = True

    def _listed(self, entry: dict[str, Any]) -> ObjectStat:
        name = entry["Key"][len(self._place.prefix) :]
        return ObjectStat(name, int(entry["Size"]), _whole_seconds_ns(entry["LastModified"]))

    def _head(self, name: str) -> dict[str, Any]:
        where = self._where(name)
        try:
            with self._translated("stat", name):
                answer: dict[str, Any] = self._client.head_object(**where)
        except ObjectNotFound:
            self._require_bucket()
            raise
        except BackendError as error:
            if 400 <= _status(getattr(error.__cause__, "response", None) or {}) < 500:
                self._ask_why(name)
            raise
        return answer

    def _ask_why(self, name: str) -> None:
        """Raise what HEAD, whose answer has no words, could not say."""
        with self._translated("stat", name):
            self._client.get_object(**self._where(name), Range="bytes=0-0")["Body"].close()

    def _require_bucket(self) -> None:
        """Tell a bucket that is not there from an object that is not: HEAD answers both alike."""
        if self._bucket_seen:
            return
        client_error = self._client.exceptions.ClientError
        try:
            self._client.head_bucket(Bucket=self._place.bucket)
        except client_error as error:
            if _status(error.response) == 404:
                response = {"Error": {"Code": "NoSuchBucket", "Message": "there is no such bucket"}}
                raise translate_answer(response, "stat", "", self.location) from error
        except self._failures:
            return
        self._bucket_seen = True

    def _put_whole(self, name: str, data: Buffer, asked: dict[str, Any]) -> None:
        checksum = _checksum(data)
        answer = self._client.put_object(**asked, Body=Body.of(data), ChecksumCRC32=checksum)
        if answer.get("ChecksumCRC32") != checksum:
            self._confirm(name, data, answer)

    def _confirm(self, name: str, data: Buffer, answer: dict[str, Any]) -> None:
        """Make sure that an object arrived though the server did not say its checksum.

        Raises:
            BackendUnavailable: it did not.
        """
        stored_sum = str(answer.get("ETag", "")).strip('"')
        if stored_sum == hashlib.md5(data, usedforsecurity=False).hexdigest():
            return
        try:
            size_bytes = self.stat(name).size_bytes
        except ObjectNotFound:
            size_bytes = -1
        if size_bytes != len(data):
            raise BackendUnavailable(
                f"{self.location}: {name}: the server said that it was stored, and it is not there",
                "check that the endpoint is an S3 server, and no proxy answers for it",
            )

    def _put_parts(
        self, name: str, data: Buffer, asked: dict[str, Any], condition: dict[str, Any]
    ) -> None:
        where = self._where(name)
        begun = self._client.create_multipart_upload(**asked, ChecksumAlgorithm="CRC32")
        upload = {**where, "UploadId": begun["UploadId"]}
        try:
            parts = [
                self._put_part(upload, number, part)
                for number, part in enumerate(_parts_of(data), start=1)
            ]
            self._client.complete_multipart_upload(
                **upload, MultipartUpload={"Parts": parts}, **condition
            )
        except BaseException:
            # What stays behind is invisible, but paid for.
            with contextlib.suppress(Exception):
                self._client.abort_multipart_upload(**upload)
            raise
        self._confirm(name, data, {})

    def _put_part(self, upload: dict[str, Any], number: int, part: memoryview) -> dict[str, Any]:
        checksum = _checksum(part)
        answer = self._client.upload_part(
            **upload, PartNumber=number, Body=Body.of(part), ChecksumCRC32=checksum
        )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": checksum}

    def _is_taken(self, error: BackendError, name: str) -> bool:
        """Return whether an exclusive put failed because the name is taken."""
        if not isinstance(error.__cause__, self._client.exceptions.ClientError):
            return False
        status = _status(error.__cause__.response)
        if status == 412:
            return True
        # 409: somebody writes or deletes it at this moment. Only if it is there, we came too late.
        if status != 409:
            return False
        try:
            self.stat(name)
        except ObjectNotFound:
            return False
        return True

    def _retention(self, until_ns: int) -> dict[str, Any]:
        """Return what makes a put protect its object."""
        until = datetime.fromtimestamp(-(-until_ns // _SECOND_NS), UTC)
        if not self._lock_known:
            self._require_lock()
            self._lock_known = True
        return {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}

    def _require_lock(self) -> None:
        try:
            self._client.get_object_lock_configuration(Bucket=self._place.bucket)
        except self._client.exceptions.ClientError as error:
            if error.response["Error"].get("Code") == _NO_LOCK:
                raise RetentionUnsupported(
                    f"{self.location}: the bucket has no Object Lock",
                    _LOCK_HINT,
                ) from error
            # Not allowed to know: what the object says afterwards decides.
        except self._failures as error:
            raise translate_failure(error, "", self.location) from error

    def _confirm_retention(self, name: str) -> None:
        if not _kept_until(self._head(name)):
            raise RetentionUnsupported(
                f"{self.location}: {name}: was stored, but the store does not protect it",
                _LOCK_HINT,
            )

    def _nothing(self, name: str, offset: int, length: int | None = 0) -> bytes:
        """Return no bytes where that is what the object has at ``offset``."""
        size_bytes = self.stat(name).size_bytes
        end = offset if length is None else offset + length
        if end > size_bytes:
            raise _short(name, size_bytes, end)
        return b""

    def _checked_range(
        self, name: str, answer: dict[str, Any], data: bytes, asked: tuple[int, int | None]
    ) -> bytes:
        offset, length = asked
        if _status(answer) == 200:
            # The server knows no ranges: this is all of it.
            first, size_bytes = 0, len(data)
        else:
            first, size_bytes = _content_range(str(answer.get("ContentRange", "")))
        end = size_bytes if length is None else offset + length
        if end > size_bytes or offset > size_bytes:
            raise _short(name, size_bytes, max(offset, end))
        data = data[offset - first : end - first]
        if first not in (0, offset) or len(data) != end - offset:
            raise BackendUnavailable(f"{self.location}: {name}: another range came than was asked")
        return data


def _connect(place: S3Place, connect_seconds: float, answer_seconds: float) -> Any:
    try:
        # boto3 is this and conveniences that nothing here uses, for a fifth of a restore's start.
        from botocore.config import Config  # noqa: PLC0415 - an extra, and a tenth of a second
        from botocore.loaders import Loader  # noqa: PLC0415
        from botocore.session import Session  # noqa: PLC0415
    except ImportError as error:
        raise BackendError(
            "S3 needs the package botocore", "install it: pip install 'snap-backup[s3]'"
        ) from error
    settings = Config(
        connect_timeout=connect_seconds,
        read_timeout=answer_seconds,
        retries={"total_max_attempts": 1},
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        # Every put brings its checksum; what is read is checked by its hash, wherever it came from.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        session = Session(profile=place.profile)
        models = Loader()
        # To be sure that there is a service "s3", it would look through the folders of all 400.
        models.list_available_services = lambda type_name: ["s3"]
        session.register_component("data_loader", models)
        client = session.create_client(
            "s3", region_name=place.region, endpoint_url=place.endpoint, config=settings
        )
    except failures() as error:
        raise translate_failure(error, "", place.shown) from error
    except ValueError as error:
        raise BackendError(f"{place.shown}: {error}", "check endpoint= and region=") from error
    client.meta.events.register("before-call.s3.HeadBucket", _follow_nowhere)
    return client


def _follow_nowhere(context: dict[str, Any], **_: object) -> None:
    """Keep botocore from asking where the bucket is when that question was sent elsewhere.

    It asks by HeadBucket after any redirect, also after that request's own, and so for ever.
    """
    context.setdefault("s3_redirect", {})["redirected"] = True


def _checksum(data: Buffer) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def _parts_of(data: Buffer) -> Iterator[memoryview]:
    view = memoryview(data)
    for offset in range(0, len(view), _PART_BYTES):
        yield view[offset : offset + _PART_BYTES]


def _is_name(name: str) -> bool:
    """Return whether a key is one of ours: other programs may use the bucket as well."""
    try:
        check_name(name)
    except UsageError:
        return False
    return True


def _status(response: dict[str, Any]) -> int:
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _whole_seconds_ns(moment: datetime) -> int:
    # Some servers tell fractions in one answer and leave them out in the other.
    return int(moment.timestamp()) * _SECOND_NS


def _kept_until(answer: dict[str, Any]) -> str:
    """Return until when an object is protected, in words; nothing where it is not."""
    if answer.get("ObjectLockLegalHoldStatus") == "ON":
        return "its legal hold is taken away"
    until: datetime | None = answer.get("ObjectLockRetainUntilDate")
    return "" if until is None else until.astimezone(UTC).isoformat(" ", "seconds")


def _content_range(text: str) -> tuple[int, int]:
    """Return the first byte of a range and the size of the whole: ``bytes 1-3/5``."""
    try:
        span, size = text.removeprefix("bytes ").split("/")
        return int(span.split("-")[0]), int(size)
    except ValueError as error:
        raise BackendUnavailable(f"the server did not say which range it sent: {text!r}") from error


def _short(name: str, size_bytes: int, end: int) -> ShortRead:
    return ShortRead(f"{name}: {size_bytes} bytes long, {end} were asked for")
