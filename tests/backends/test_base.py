from collections.abc import Callable
from pathlib import Path

import pytest

from snap.backends.base import Backend, RetentionUnsupported, check_name, check_prefix
from snap.backends.local import LocalBackend
from snap.backends.memory import MemoryBackend
from snap.backends.retry import RetryingBackend
from snap.errors import UsageError


def test_plain_names_pass_and_others_do_not() -> None:
    for name in ("config", "data/ab/" + "0" * 64, "a.b-c_d/E9"):
        assert check_name(name) == name
    for name in ("..", "a/..", "-a", "a\0", "a/.b", "/"):
        with pytest.raises(UsageError):
            check_name(name)


def test_a_prefix_is_empty_or_a_name_and_a_slash() -> None:
    for prefix in ("", "data/", "data/ab/"):
        assert check_prefix(prefix) == prefix
    for prefix in ("data", "/", "../", "a/../", "/data/"):
        with pytest.raises(UsageError, match="prefix"):
            check_prefix(prefix)


@pytest.mark.parametrize("make", [MemoryBackend, lambda: LocalBackend(Path("/nowhere"))])
def test_a_store_without_retention_refuses_a_put_that_asks_for_it(
    make: Callable[[], Backend],
) -> None:
    backend = make()
    with pytest.raises(RetentionUnsupported):
        RetryingBackend(backend).put("a", b"x", retain_until_ns=1)
    assert list(backend.list("")) == []
