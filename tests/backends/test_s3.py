"""S3 on a real server: what it promises beyond the contract, and what networks do to it."""

import builtins
import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import botocore.auth
import pytest

from snap.backends.base import (
    Backend,
    BackendError,
    BackendUnavailable,
    ObjectExists,
    ObjectNotFound,
    ObjectRetained,
    PermissionDenied,
    RetentionUnsupported,
)
from snap.backends.faulty import FaultyBackend
from snap.backends.location import open_backend
from snap.backends.readonly import ReadOnlyBackend
from snap.backends.retry import RetryingBackend
from snap.backends.s3 import S3Backend
from snap.backends.s3_place import parse_place
from snap.backends.throttle import Limits, ThrottledBackend
from snap.errors import UsageError
from tests.servers.http_proxy import (
    CUT_REQUEST,
    REFUSE,
    STALL,
    STALL_ANSWER,
    Proxy,
    Trouble,
)
from tests.servers.s3 import Bucket, S3Server, self_signed

BIG = random.Random(1).randbytes(3_000_000)
HOUR_NS = 3600 * 10**9
SILENT = (STALL, STALL_ANSWER)


# What is stored, and how


def test_objects_lie_below_the_prefix_and_what_else_is_there_is_left_alone(
    bucket: Bucket, store: S3Backend
) -> None:
    bucket.overwrite("some/other", b"x")
    bucket.overwrite("some/prefix/not a name", b"x")
    bucket.overwrite("some/prefixed", b"x")
    store.put("a/b", b"1")
    assert [stat.name for stat in store.list("")] == ["a/b"]
    assert bucket.raw("some/prefix/a/b") == b"1"


def test_a_listing_goes_on_over_many_pages(bucket: Bucket, between: Proxy) -> None:
    # The server gives a thousand names a page; one of a hundred is asked for on the way.
    store = S3Backend(parse_place(bucket.url_through(between.endpoint)))
    asked = store._client.list_objects_v2
    store._client.list_objects_v2 = lambda **given: asked(**given, MaxKeys=10)
    for n in range(35):
        store.put(f"d/{n:02}", b"x")
    between.seen.clear()
    assert [stat.name for stat in store.list("d/")] == [f"d/{n:02}" for n in range(35)]
    assert len(between.seen) == 4
    store.close()


def test_a_large_object_goes_by_parts_and_is_whole(
    bucket: Bucket, between: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snap.backends.s3._PARTS_ABOVE_BYTES", 10_000_000)
    monkeypatch.setattr("snap.backends.s3._PART_BYTES", 5 << 20)
    store = S3Backend(parse_place(bucket.url_through(between.endpoint)))
    data = BIG * 4
    store.put("a", data, exclusive=True)
    assert sum("partNumber" in target for _, target in between.seen) == 3
    assert store.get("a") == data
    with pytest.raises(ObjectExists):
        store.put("a", b"x" * 11_000_000, exclusive=True)
    assert store.get("a", 11_000_000) == data[11_000_000:]
    between.troubles = [Trouble(CUT_REQUEST, "PUT", "partNumber=2")]
    with pytest.raises(BackendUnavailable):
        store.put("b", data)
    with pytest.raises(ObjectNotFound):
        store.stat("b")
    uploads = bucket.server.client().list_multipart_uploads(Bucket=bucket.name)
    assert not uploads.get("Uploads")
    store.close()


def test_data_may_have_a_storage_class_of_its_own(bucket: Bucket) -> None:
    store = S3Backend(parse_place(bucket.url + "&data_class=GLACIER_IR"))
    for name in ("data/aa/x", "meta/aa/x"):
        store.put(name, b"x")
    found = bucket.server.client().list_objects_v2(Bucket=bucket.name)["Contents"]
    classes = {entry["Key"].split("/")[2]: entry["StorageClass"] for entry in found}
    assert classes == {"data": "GLACIER_IR", "meta": "STANDARD"}
    store.close()


def test_a_storage_class_that_the_store_does_not_know_is_said(bucket: Bucket) -> None:
    store = S3Backend(parse_place(bucket.url + "&data_class=NONSENSE"))
    with pytest.raises(BackendError, match="InvalidStorageClass") as caught:
        store.put("data/aa/x", b"x")
    assert "data_class" in caught.value.hint
    store.close()


def test_eight_puts_are_on_their_way_at_once(far: S3Backend) -> None:
    together = threading.Barrier(far.parallel_requests)
    asked = far._client.put_object

    def meet(**given: Any) -> Any:
        together.wait(30)
        return asked(**given)

    far._client.put_object = meet
    threads = [
        threading.Thread(target=far.put, args=(f"d/{n}", BIG)) for n in range(far.parallel_requests)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(far.list("d/"))) == far.parallel_requests


# Object Lock


def test_an_object_can_be_protected_for_a_time(s3_user: S3Server) -> None:
    with s3_user.bucket(lock=True) as bucket:
        store = S3Backend(parse_place(bucket.url))
        store.put("a", b"kept", retain_until_ns=time.time_ns() + HOUR_NS)
        head = s3_user.client().head_object(Bucket=bucket.name, Key="some/prefix/a")
        assert head["ObjectLockMode"] == "COMPLIANCE"
        assert head["ObjectLockRetainUntilDate"].timestamp() > time.time() + 3500
        # Gone for readers; the version that is protected stays.
        store.delete("a")
        with pytest.raises(ObjectNotFound):
            store.get("a")
        versions = s3_user.client().list_object_versions(Bucket=bucket.name)["Versions"]
        old = versions[0]["VersionId"]
        kept = s3_user.client().get_object(Bucket=bucket.name, Key="some/prefix/a", VersionId=old)
        assert kept["Body"].read() == b"kept"
        store.close()


def test_it_is_known_after_a_deletion_whether_old_versions_stay(
    s3_user: S3Server, store: S3Backend
) -> None:
    store.put("a", b"x")
    store.delete("a")
    assert not store.keeps_deleted
    with s3_user.bucket(lock=True) as bucket:
        locked = S3Backend(parse_place(bucket.url))
        wrapped: Backend = locked
        for wrap in (RetryingBackend, FaultyBackend, ReadOnlyBackend):
            wrapped = wrap(wrapped)
        wrapped = ThrottledBackend(wrapped, Limits())
        locked.put("a", b"x")
        assert not wrapped.keeps_deleted, "nothing was deleted yet"
        locked.delete("a")
        assert wrapped.keeps_deleted
        locked.close()


def test_without_object_lock_nothing_is_stored_that_should_be_protected(store: S3Backend) -> None:
    with pytest.raises(RetentionUnsupported):
        store.put("a", b"x", retain_until_ns=time.time_ns() + HOUR_NS)
    with pytest.raises(ObjectNotFound):
        store.stat("a")


def test_protection_that_the_store_only_promises_is_found_out(
    bucket: Bucket, between: Proxy, far: S3Backend
) -> None:
    between.troubles = [Trouble(REFUSE, "GET", "object-lock", status=403, code="AccessDenied")]
    # A store that takes the headers and does nothing about them.
    asked = far._client.put_object
    far._client.put_object = lambda **given: asked(
        **{name: value for name, value in given.items() if "Lock" not in name}
    )
    with pytest.raises(RetentionUnsupported, match="does not protect"):
        far.put("a", b"x", retain_until_ns=time.time_ns() + HOUR_NS)


def test_a_deletion_that_a_lock_forbids_is_told_from_one_without_permission(
    s3_user: S3Server, between: Proxy
) -> None:
    with s3_user.bucket(lock=True) as bucket:
        store = S3Backend(parse_place(bucket.url_through(between.endpoint)))
        store.put("locked", b"x", retain_until_ns=time.time_ns() + HOUR_NS)
        store.put("free", b"x")
        between.troubles = [Trouble(REFUSE, "DELETE", times=None, status=403, code="AccessDenied")]
        with pytest.raises(ObjectRetained, match="until 20"):
            store.delete("locked")
        with pytest.raises(PermissionDenied) as caught:
            store.delete("free")
        assert not isinstance(caught.value, ObjectRetained)
        assert "s3:DeleteObject" in caught.value.hint
        store.close()


# Who may do what


def opened_as(user: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> S3Backend:
    for name, value in bucket.server.environment(user).items():
        monkeypatch.setenv(name, value)
    return S3Backend(parse_place(bucket.url))


@pytest.mark.parametrize(
    ("user", "action"),
    [
        ("no-put", "s3:PutObject"),
        ("no-get", "s3:GetObject"),
        ("no-list", "s3:ListBucket"),
    ],
)
def test_who_may_not_do_one_thing_is_told_which(
    user: str, action: str, bucket: Bucket, store: S3Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("there", b"x")
    limited = opened_as(user, bucket, monkeypatch)
    calls: dict[str, list[Callable[[], object]]] = {
        "s3:PutObject": [lambda: limited.put("a", b"x")],
        "s3:GetObject": [lambda: limited.get("there"), lambda: limited.stat("there")],
        "s3:ListBucket": [lambda: list(limited.list(""))],
    }
    for wanted, tries in calls.items():
        for call in tries:
            if wanted != action:
                call()
                continue
            with pytest.raises(PermissionDenied) as caught:
                call()
            assert action in caught.value.hint
    if user == "no-put":
        with pytest.raises(PermissionDenied) as caught:
            limited.delete("there")
        assert "s3:DeleteObject" in caught.value.hint
    limited.close()


def test_wrong_keys_are_said_without_saying_them(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "AKIANOBODY"),
        ("AWS_SECRET_ACCESS_KEY", "hush-hush"),
    ):
        monkeypatch.setenv(name, value)
        store = S3Backend(parse_place(bucket.url))
        calls: list[Callable[[], object]] = [
            lambda store=store: store.put("a", b"x"),  # type: ignore[misc]
            lambda store=store: store.stat("a"),  # type: ignore[misc]
        ]
        for call in calls:
            with pytest.raises(PermissionDenied) as caught:
                call()
            said = str(caught.value) + caught.value.hint
            assert "hush" not in said
            assert "AWS_SECRET_ACCESS_KEY" in said
        store.close()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "admin")


def test_no_credentials_at_all_are_said_at_once(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = open_backend(bucket.url)
    with pytest.raises(PermissionDenied, match="no usable credentials"):
        store.stat("a")
    store.close()


def test_a_profile_that_is_not_there_is_said(bucket: Bucket) -> None:
    with pytest.raises(PermissionDenied, match="no usable credentials"):
        open_backend(bucket.url + "&profile=nobody")


def test_a_bucket_that_is_not_there_is_told_from_an_empty_one(
    s3_user: S3Server, bucket: Bucket
) -> None:
    store = S3Backend(parse_place(bucket.url.replace(bucket.name, "no-such-bucket")))
    calls: list[Callable[[], object]] = [
        lambda: store.stat("config"),
        lambda: store.get("config"),
        lambda: store.put("config", b"x"),
        lambda: list(store.list("")),
        lambda: store.delete("config"),
    ]
    for call in calls:
        with pytest.raises(BackendError, match="NoSuchBucket") as caught:
            call()
        assert type(caught.value) is BackendError
        assert "bucket" in caught.value.hint
    store.close()


def test_a_bucket_elsewhere_is_said_with_its_region(between: Proxy, far: S3Backend) -> None:
    moved = Trouble(
        REFUSE,
        status=400,
        times=None,
        body=b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is "
        b"wrong; expecting 'eu-south-1'</Message><Region>eu-south-1</Region></Error>",
    )
    between.troubles = [moved]
    calls: list[Callable[[], object]] = [lambda: far.put("a", b"x"), lambda: far.delete("a")]
    for call in calls:
        with pytest.raises(BackendError) as caught:
            call()
        assert "region=eu-south-1" in caught.value.hint


def test_a_clock_that_is_hours_off_is_named(
    store: S3Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = botocore.auth.get_current_datetime
    late = timedelta(hours=5)
    calls: list[Callable[[], object]] = [
        lambda: store.put("a", b"x"),
        lambda: store.stat("a"),
        lambda: list(store.list("")),
    ]
    for call in calls:
        with monkeypatch.context() as patch, pytest.raises(BackendError) as caught:
            patch.setattr("botocore.auth.get_current_datetime", lambda: now() + late)
            call()
        assert type(caught.value) is BackendError
        assert "clock" in caught.value.hint


def test_a_missing_botocore_is_said_with_the_extra_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("botocore"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BackendError, match="botocore") as caught:
        open_backend("s3://bucket")
    assert "snap-backup[s3]" in caught.value.hint


def test_a_name_that_leads_elsewhere_never_leaves_the_prefix() -> None:
    with pytest.raises(UsageError):
        parse_place("s3://bucket/../other")


def test_tls_takes_the_servers_certificate_to_be_trusted(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A certificate of one's own is named by AWS_CA_BUNDLE, and the connection is encrypted."""
    place = parse_place(bucket.url_through(bucket.server.https))
    for bundle in (None, self_signed(tmp_path)[0]):
        if bundle is not None:
            monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
        with pytest.raises(BackendError, match="no trusted connection") as caught:
            S3Backend(place).put("a", b"content")
        # Not one that is tried again.
        assert type(caught.value) is BackendError
        assert "AWS_CA_BUNDLE" in caught.value.hint
    assert bucket.listed() == []
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bucket.server.certificate))
    store = S3Backend(place)
    # Over TLS nothing but the checksum proves what arrives: small objects and large ones.
    for name, content in (("small", b"content"), ("large", BIG)):
        store.put(name, content)
        assert store.get(name) == content
        assert store.get(name, 2, 3) == content[2:5]
    with pytest.raises(ObjectExists):
        store.put("small", b"other", exclusive=True)
    assert {stat.name for stat in store.list("")} == {"small", "large"}
    store.close()
