"""What goes wrong before a server is reached; the rest is in tests/acceptance."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from snap.sources.chroma_export import ExportRequest
from tests.servers.chroma import ROOT, Chroma
from tests.servers.services import free_port


def outcome(python: str, url: str, target: Path, *flags: str) -> dict[str, str]:
    done = subprocess.run(
        [python, *flags, "-m", "snap.sources.chroma_export"],
        input=json.dumps(asdict(ExportRequest(url, str(target)))),
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def test_without_chromas_client_the_hint_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "chromadb.py").write_text("raise ImportError('not here')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r});"
        "from snap.sources.chroma_export import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(asdict(ExportRequest("http://h", str(tmp_path / "t")))),
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert "not installed" in found["error"]
    assert "snap-backup[chroma]" in found["hint"]


def test_a_server_that_refuses_is_told_in_words(chroma: Chroma, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    found = outcome(chroma.python, url, tmp_path / "t")
    assert found["error"].startswith(f"{url}: ")
    assert found["hint"]
