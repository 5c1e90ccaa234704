import pytest

from snap.backends.base import check_name, check_prefix
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
