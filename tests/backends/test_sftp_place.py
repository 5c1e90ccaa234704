import pytest

from snap.backends.sftp_place import SftpPlace, place_of_url
from snap.errors import UsageError


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("host/x", SftpPlace("host", "/x")),
        ("host/", SftpPlace("host", "/")),
        ("me@host:22/x", SftpPlace("host", "/x", "me", 22)),
        ("m%40e@host/x", SftpPlace("host", "/x", "m@e")),
        ("[::1]:22/x", SftpPlace("::1", "/x", None, 22)),
        ("host/~/x/y", SftpPlace("host", "x/y")),
        ("host/~", SftpPlace("host", ".")),
        ("host/100%25?#a", SftpPlace("host", "/100%?#a")),
        ("host/~x", SftpPlace("host", "/~x")),
    ],
)
def test_what_a_url_names(url: str, place: SftpPlace) -> None:
    assert place_of_url(url) == place
    assert place_of_url(place.location.removeprefix("sftp://")) == place


@pytest.mark.parametrize("url", ["me:pass@host/x", "host", "/x", "-x/y", "h:0/x", "@h/x", "[::1/x"])
def test_what_names_nothing_or_too_much(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        place_of_url(url)
    assert caught.value.hint
    assert "pass@" not in str(caught.value)
