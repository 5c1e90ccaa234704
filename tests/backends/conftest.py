"""A bucket of a real server, near, far away, and where nobody waits for long."""

from collections.abc import Iterator

import pytest

from snap.backends.s3 import S3Backend
from snap.backends.s3_place import parse_place
from tests.servers.http_proxy import Proxy, proxy
from tests.servers.s3 import Bucket, S3Server


@pytest.fixture
def store(bucket: Bucket) -> Iterator[S3Backend]:
    store = S3Backend(parse_place(bucket.url))
    yield store
    store.close()


@pytest.fixture
def between(s3_user: S3Server) -> Iterator[Proxy]:
    with proxy(s3_user.endpoint) as between:
        yield between


@pytest.fixture
def far(bucket: Bucket, between: Proxy) -> Iterator[S3Backend]:
    """The store behind a network."""
    store = S3Backend(parse_place(bucket.url_through(between.endpoint)))
    yield store
    store.close()


@pytest.fixture
def hasty(bucket: Bucket, between: Proxy) -> Iterator[S3Backend]:
    """The same for calls that are never answered: a second of silence is enough."""
    place = parse_place(bucket.url_through(between.endpoint))
    store = S3Backend(place, connect_seconds=1, answer_seconds=1)
    yield store
    store.close()
