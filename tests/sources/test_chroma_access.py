from snap.sources.chroma_access import is_url


def test_a_url_is_told_from_a_directory() -> None:
    assert is_url("http://localhost:8000")
    assert is_url("https://vectors.example")
    assert not is_url("/var/lib/chroma")
    assert not is_url("http")
