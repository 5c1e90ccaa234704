import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from snap.backends.base import BackendError
from snap.backends.location import open_backend
from snap.errors import UsageError


def test_a_path_and_a_file_url_name_the_same_folder(tmp_path: Path) -> None:
    open_backend(str(tmp_path / "with space")).put("a", b"x")
    assert open_backend(f"file://{tmp_path}/with%20space").get("a") == b"x"


@pytest.mark.parametrize(
    "location",
    [
        "",
        "sftp://",
        "sftp:host:/x",
        "s3:https://host/bucket",
        "s3:host/bucket",
        "sftp://host",
        "sftp:///x",
        "sftp://-oProxyCommand=x/y",
        "sftp://host:0/x",
        "sftp://host:port/x",
        "sftp://@host/x",
        "sftp://[::1/x",
        "sftp://host/a%00b",
        "s3://Bucket",
        "http://x",
        "file://otherhost/x",
        "file://",
        "file:///a%00b",
        "a\0b",
        "~nobody-of-this-name/x",
    ],
)
def test_what_cannot_be_opened_is_a_usage_error_with_a_hint(location: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_backend(location)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["what?", "a#b", "100%25", "caf%C3%A9"])
def test_a_file_url_keeps_every_character_of_the_folder(tmp_path: Path, name: str) -> None:
    store = open_backend(f"file://localhost{tmp_path}/{name}")
    store.put("a", b"x")
    assert (tmp_path / unquote(name) / "a").read_bytes() == b"x"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_backend("~/r").location == f"{tmp_path}/r"


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("sftp://host/x/y/", "sftp://host/x/y"),
        ("sftp://host/", "sftp://host/"),
        ("sftp://me@host:2222//x", "sftp://me@host:2222/x"),
        ("sftp://[::1]:22/x", "sftp://[::1]:22/x"),
        ("sftp://host/~/x", "sftp://host/~/x"),
        ("sftp://host/~", "sftp://host/~/."),
        ("sftp://host/what?%23a%20b", "sftp://host/what?#a b"),
    ],
)
def test_an_sftp_url_names_a_folder_on_a_server(url: str, location: str) -> None:
    store = open_backend(url)
    assert store.location == location
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        "sftp://me:s3cret@host/x",
        "sftp://me:s3cret@host",
        "sftp://me:s3@cret@host/x",
        "sftp://me:s3cret/more@host/x",
        "sftp://me@[s3cret/x",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_backend(url)
    assert "s3" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.hint


def test_a_missing_asyncssh_is_told_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "snap.backends.sftp", raising=False)
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    with pytest.raises(BackendError) as caught:
        open_backend("sftp://host/x")
    assert "snap-backup[ssh]" in caught.value.hint
