from pathlib import Path

import pytest

from snap.backends.location import open_backend
from snap.errors import UsageError


def test_a_path_and_a_file_url_name_the_same_folder(tmp_path: Path) -> None:
    open_backend(str(tmp_path / "with space")).put("a", b"x")
    assert open_backend(f"file://{tmp_path}/with%20space").get("a") == b"x"


@pytest.mark.parametrize(
    "location", ["", "sftp://host/x", "s3://bucket", "http://x", "file://otherhost/x"]
)
def test_what_cannot_be_opened_is_a_usage_error_with_a_hint(location: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_backend(location)
    assert caught.value.hint
