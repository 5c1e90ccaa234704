"""What networks and gateways do to S3, by a proxy in front of a real server."""

import random
from typing import Any

import pytest

from snap.backends.base import (
    Backend,
    BackendError,
    BackendUnavailable,
    ObjectExists,
    ObjectNotFound,
    ShortRead,
)
from snap.backends.retry import RetryingBackend, RetryPolicy
from snap.backends.s3 import S3Backend
from snap.backends.s3_place import parse_place
from tests.servers.http_proxy import (
    CUT_ANSWER,
    CUT_REQUEST,
    LOSE_ANSWER,
    REFUSE,
    REPLACE,
    SHORTEN,
    STALL,
    STALL_ANSWER,
    Proxy,
    Trouble,
    proxy,
)
from tests.servers.s3 import S3Server

BIG = random.Random(1).randbytes(3_000_000)
HOUR_NS = 3600 * 10**9
SILENT = (STALL, STALL_ANSWER)


def patient(store: Backend) -> RetryingBackend:
    return RetryingBackend(store, RetryPolicy(attempts=4), sleep=lambda _: None)


def test_a_server_that_is_not_there_is_unavailable(s3_user: S3Server) -> None:
    with proxy(s3_user.endpoint) as gone:
        url = f"s3://bucket/x?endpoint={gone.endpoint}"
    store = S3Backend(parse_place(url))
    with pytest.raises(BackendUnavailable) as caught:
        store.stat("a")
    assert "check the network" in caught.value.hint
    store.close()


@pytest.mark.parametrize("kind", [CUT_REQUEST, LOSE_ANSWER, STALL, REFUSE])
def test_a_put_that_is_interrupted_is_unavailable_and_the_next_succeeds(
    kind: str, between: Proxy, far: S3Backend, hasty: S3Backend
) -> None:
    between.troubles = [Trouble(kind, "PUT")]
    with pytest.raises(BackendUnavailable):
        (hasty if kind in SILENT else far).put("a", BIG)
    if kind not in SILENT:
        between.troubles = [Trouble(kind, "PUT")]
    patient(far).put("a", BIG)
    assert far.get("a") == BIG


@pytest.mark.parametrize("kind", [CUT_ANSWER, STALL_ANSWER, STALL, REFUSE])
@pytest.mark.parametrize("asked", [(0, None), (1000, 2_000_000)])
def test_a_get_that_is_interrupted_is_unavailable_and_the_next_succeeds(
    kind: str, asked: tuple[int, int | None], between: Proxy, far: S3Backend, hasty: S3Backend
) -> None:
    far.put("a", BIG)
    between.troubles = [Trouble(kind, "GET", times=1 if kind in SILENT else 2)]
    with pytest.raises(BackendUnavailable):
        (hasty if kind in SILENT else far).get("a", *asked)
    assert patient(far).get("a", *asked) == BIG[asked[0] :][: asked[1]]


def test_a_range_that_came_half_as_if_it_were_all_is_noticed(
    between: Proxy, far: S3Backend
) -> None:
    far.put("a", BIG)
    between.troubles = [Trouble(SHORTEN, "GET")]
    with pytest.raises(BackendUnavailable):
        far.get("a", 10, 1000)


def test_a_server_without_ranges_sends_all_and_the_range_is_taken_from_it(
    between: Proxy, far: S3Backend
) -> None:
    far.put("a", BIG)
    between.troubles = [Trouble(REFUSE, "GET", times=None, status=200, body=BIG)]
    assert far.get("a", 10, 1000) == BIG[10:1010]
    with pytest.raises(ShortRead):
        far.get("a", 10, len(BIG))


@pytest.mark.parametrize("kind", [CUT_ANSWER, STALL, REFUSE, SHORTEN])
def test_a_listing_that_is_interrupted_is_complete_after_all(
    kind: str, between: Proxy, far: S3Backend, hasty: S3Backend
) -> None:
    for n in range(20):
        far.put(f"d/{n:02}", b"x")
    between.troubles = [Trouble(kind, "GET", "list-type")]
    with pytest.raises(BackendUnavailable):
        list((hasty if kind in SILENT else far).list("d/"))
    if kind not in SILENT:
        between.troubles = [Trouble(kind, "GET", "list-type")]
    assert sorted(s.name for s in patient(far).list("d/")) == [f"d/{n:02}" for n in range(20)]


def test_a_listing_that_breaks_off_between_pages_is_noticed(between: Proxy, far: S3Backend) -> None:
    page = b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"
    between.troubles = [Trouble(REFUSE, "GET", "list-type", status=200, body=page)]
    with pytest.raises(BackendUnavailable, match="breaks off"):
        list(far.list("d/"))


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_put_whose_answer_was_lost_is_a_success(
    exclusive: bool, between: Proxy, far: S3Backend
) -> None:
    between.troubles = [Trouble(LOSE_ANSWER, "PUT")]
    patient(far).put("a", BIG, exclusive=exclusive)
    assert far.get("a") == BIG
    with pytest.raises(ObjectExists):
        patient(far).put("a", b"another", exclusive=True)


def test_a_deletion_whose_answer_was_lost_is_a_success(between: Proxy, far: S3Backend) -> None:
    far.put("a", b"x")
    between.troubles = [Trouble(LOSE_ANSWER, "DELETE")]
    patient(far).delete("a")
    with pytest.raises(ObjectNotFound):
        far.stat("a")


def test_a_success_that_stored_nothing_is_found_out(between: Proxy, far: S3Backend) -> None:
    """A gateway that answers everything with a friendly page."""
    between.troubles = [Trouble(REFUSE, "PUT", times=None, status=200, body=b"<html>hello</html>")]
    with pytest.raises(BackendUnavailable, match="not there"):
        far.put("a", b"x" * 1000)


def test_a_success_that_stored_half_is_found_out(between: Proxy, far: S3Backend) -> None:
    asked = far._client.put_object

    def half(**given: Any) -> Any:
        del given["ChecksumCRC32"]
        answer = asked(**{**given, "Body": given["Body"][:500]})
        answer.pop("ChecksumCRC32", None)
        return answer

    far._client.put_object = half
    with pytest.raises(BackendUnavailable, match="not there"):
        far.put("a", b"x" * 1000)


def test_what_is_damaged_on_its_way_is_refused_by_the_server(far: S3Backend) -> None:
    """The checksum that goes with an object is the one of what was meant."""
    asked = far._client.put_object
    far._client.put_object = lambda **given: asked(**{**given, "Body": b"y" * 1000})
    with pytest.raises(BackendError):
        far.put("a", b"x" * 1000)
    with pytest.raises(ObjectNotFound):
        far.stat("a")


def test_who_meets_another_writer_at_this_moment_came_too_late_only_if_something_is_there(
    between: Proxy, far: S3Backend
) -> None:
    conflict = Trouble(REFUSE, "PUT", status=409, code="ConditionalRequestConflict", times=None)
    between.troubles = [conflict]
    with pytest.raises(BackendUnavailable):
        far.put("a", b"x", exclusive=True)
    between.troubles = []
    far.put("a", b"x")
    between.troubles = [conflict]
    with pytest.raises(ObjectExists):
        far.put("a", b"y", exclusive=True)


def test_another_answer_than_the_servers_own_is_not_believed(
    between: Proxy, far: S3Backend
) -> None:
    far.put("a", BIG)
    between.troubles = [Trouble(REPLACE, status=200, body=b"<html></html>", times=None)]
    with pytest.raises(BackendUnavailable, match="not of S3"):
        list(far.list(""))
    with pytest.raises(BackendUnavailable, match="not of S3"):
        far.stat("a")
    between.troubles = [Trouble(REPLACE, "GET", status=200, body=b"<html>", times=None)]
    with pytest.raises((BackendUnavailable, ShortRead)):
        far.get("a", 0, 1000)
    with pytest.raises(BackendUnavailable):
        list(far.list(""))


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_page_that_sends_elsewhere_is_no_bucket_and_is_asked_a_few_times_only(
    status: int, between: Proxy, far: S3Backend
) -> None:
    headers = (("Location", "https://login.example/"),)
    page = b"<html>please log in</html>"
    between.troubles = [Trouble(REFUSE, "", times=None, status=status, headers=headers, body=page)]
    for ask in (lambda: far.stat("a"), lambda: far.get("a"), lambda: list(far.list("data/"))):
        between.seen.clear()
        with pytest.raises(BackendError) as caught:
            ask()
        assert "endpoint=" in caught.value.hint
        assert len(between.seen) <= 5
