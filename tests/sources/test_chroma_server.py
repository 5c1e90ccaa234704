"""URLs and errors; real servers are in tests/acceptance/test_chroma_server.py."""

import subprocess
import sys
from pathlib import Path

import pytest

from snap.errors import SourceError, UsageError
from snap.sources.chroma_server import ChromaServerSource


def test_a_server_is_named_after_its_host(tmp_path: Path) -> None:
    source = ChromaServerSource("http://vectors.example:8000", spool_dir=tmp_path)
    assert (source.name, source.place) == ("vectors.example", "http://vectors.example:8000")
    assert ChromaServerSource("http://x", spool_dir=tmp_path, name="mine").name == "mine"


@pytest.mark.parametrize("url", ["http://", "http://user:secret@host", "http://host:port"])
def test_what_is_no_servers_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="http") as caught:
        ChromaServerSource(url, spool_dir=tmp_path)
    assert "http://HOST:8000" in caught.value.hint


def test_a_program_that_answers_no_line_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if it had died of no memory.
    monkeypatch.setattr(sys, "executable", "/bin/true")
    assert subprocess.run([sys.executable], check=False).returncode == 0
    source = ChromaServerSource("http://127.0.0.1:1", spool_dir=tmp_path)
    with pytest.raises(SourceError, match="reading it failed: it died"), source.open():
        pass
    assert list(tmp_path.iterdir()) == []
