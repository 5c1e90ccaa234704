"""What people install is what is here, and nothing more."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--no-isolation",
            "--wheel",
            "--outdir",
            str(folder),
            str(ROOT),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_every_module_and_only_snap(wheel: zipfile.ZipFile) -> None:
    names = {n for n in wheel.namelist() if ".dist-info/" not in n}
    modules = {
        f"snap/{path.relative_to(ROOT).as_posix()}"
        for room in ("backends", "repo", "sources", "cli")
        for path in (ROOT / room).glob("*.py")
    }
    top = {"snap/__init__.py", "snap/__main__.py", "snap/errors.py", "snap/py.typed"}
    assert names == modules | top


def test_the_wheel_brings_the_command_and_a_lean_set_of_packages(wheel: zipfile.ZipFile) -> None:
    (entry,) = [n for n in wheel.namelist() if n.endswith("entry_points.txt")]
    assert "snap = snap.cli.main:main" in wheel.read(entry).decode()
    (metadata,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
    text = wheel.read(metadata).decode()
    required = [
        line.split(": ")[1] for line in text.splitlines()
        if line.startswith("Requires-Dist") and "extra ==" not in line
    ]  # fmt: skip
    names = sorted(r.split(">")[0].strip() for r in required)
    lean = ["blake3", "click", "cryptography", "msgpack", "pyfastcdc", "rich", "zstandard"]
    assert names == lean
    extras = {
        line.split(": ")[1] for line in text.splitlines() if line.startswith("Provides-Extra")
    }
    assert extras == {"s3", "ssh", "neo4j", "docker", "chroma", "all"}
