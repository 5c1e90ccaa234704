from pathlib import Path

import pytest

from snap.cli.config_file import Configuration, CopyTable
from snap.cli.copies import (
    CopyPlace,
    chosen_copies,
    configured_copies,
    copy_of,
    fallback_copies,
    media_of,
)
from snap.cli.settings import Settings
from snap.errors import UsageError

USB = CopyTable("usb", "/media/usb", "usb disk")
OFFICE = CopyTable("office", "sftp://office/snap", "server", offsite=True)


def settings(*tables: CopyTable, repository: str = "/repo") -> Settings:
    configuration = Configuration(Path("/etc/snap/snap.toml"), copies=tables)
    return Settings(repository=repository, configuration=configuration)


def test_without_a_name_all_that_are_configured_are_meant() -> None:
    found = chosen_copies(settings(USB, OFFICE), [])
    assert [(c.name, c.location, c.media, c.is_offsite) for c in found] == [
        ("usb", "/media/usb", "usb disk", False),
        ("office", "sftp://office/snap", "server", True),
    ]
    with pytest.raises(UsageError, match="no copy is configured"):
        chosen_copies(Settings(repository="/repo"), [])


def test_the_repository_in_use_is_no_copy_of_itself() -> None:
    assert [c.name for c in configured_copies(settings(USB, OFFICE, repository="/media/usb"))] == [
        "office"
    ]


def test_a_place_is_as_good_as_a_name_and_a_configured_place_keeps_its_name(clean: Path) -> None:
    both = settings(USB, OFFICE)
    assert copy_of(both, "usb") == copy_of(both, "/media/usb")
    assert copy_of(both, "/elsewhere") == CopyPlace("/elsewhere", "/elsewhere", "disk", False)
    assert copy_of(both, "s3://bucket/x").media == "s3"
    (clean / "folder").mkdir()
    assert copy_of(both, "folder").location == "folder"
    assert [c.name for c in chosen_copies(both, ["usb", "usb"])] == ["usb"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [("offise", "did you mean 'office'?"), ("xyz", "known are usb, office")],
)
def test_a_name_that_none_has_is_told_with_the_nearest(clean: Path, text: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"no copy '{text}'") as caught:
        copy_of(settings(USB, OFFICE), text)
    assert hint in caught.value.hint


def test_what_a_place_lies_on_is_guessed_from_its_kind() -> None:
    assert [media_of(t) for t in ("/x", "file:///x", "s3://b", "sftp://h/x")] == [
        "disk",
        "disk",
        "s3",
        "sftp",
    ]


def test_where_a_copy_is_in_use_the_configured_repository_has_a_name_too(clean: Path) -> None:
    configuration = Configuration(
        Path("/etc/snap/snap.toml"), {"repository": "/repo", "media": "raid"}, copies=(USB,)
    )
    of_usb = Settings(repository="/media/usb", configuration=configuration)
    own = CopyPlace("repository", "/repo", "raid", False)
    assert copy_of(of_usb, "repository") == own
    assert fallback_copies(of_usb, []) == [own]
    of_own = Settings(repository="/repo", configuration=configuration)
    assert [c.name for c in fallback_copies(of_own, [])] == ["usb"]
    with pytest.raises(UsageError):
        copy_of(of_own, "repository")
    elsewhere = Settings(repository="/other", configuration=configuration)
    assert fallback_copies(elsewhere, []) == []
    assert [c.name for c in fallback_copies(elsewhere, ["usb"])] == ["usb"]
