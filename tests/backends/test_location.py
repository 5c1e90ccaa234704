from pathlib import Path
from urllib.parse import unquote

import pytest

from snap.backends.location import open_backend
from snap.errors import UsageError


def test_a_path_and_a_file_url_name_the_same_folder(tmp_path: Path) -> None:
    open_backend(str(tmp_path / "with space")).put("a", b"x")
    assert open_backend(f"file://{tmp_path}/with%20space").get("a") == b"x"


@pytest.mark.parametrize(
    "location",
    [
        "",
        "sftp://host/x",
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
