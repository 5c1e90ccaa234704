import os
import subprocess
import sys
from pathlib import Path

import pytest

from snap.errors import TargetError
from snap.sources.readback import ReadBack


def written(path: Path, data: bytes) -> bytes:
    path.write_bytes(data)
    return os.fsencode(path)


def test_what_is_as_it_was_written_passes_whatever_its_mode(tmp_path: Path) -> None:
    noted, data = ReadBack(), os.urandom(9 << 20)
    path = written(tmp_path / "f", data)
    noted.note(path, 5 << 20, memoryview(data)[5 << 20 :])
    noted.note(path, 0, data[:7])
    os.chmod(path, 0o000)
    noted.compare()
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0
    noted.close()


@pytest.mark.parametrize("change", ["byte", "shorter"])
def test_what_is_different_or_cut_short_is_named(tmp_path: Path, change: str) -> None:
    noted = ReadBack()
    data = os.urandom(100_000)
    noted.note(written(tmp_path / "good", data), 0, data)
    noted.note(written(tmp_path / "bad", data), 0, data)
    changed = data[:-1] + bytes([data[-1] ^ 1]) if change == "byte" else data[:-1]
    (tmp_path / "bad").write_bytes(changed)
    with pytest.raises(TargetError, match="bad reads back differently"):
        noted.compare()
    noted.close()


def test_what_was_removed_is_not_looked_for(tmp_path: Path) -> None:
    noted = ReadBack()
    noted.note(os.fsencode(tmp_path / "gone"), 0, b"x")
    noted.forget(os.fsencode(tmp_path / "gone"))
    noted.compare()
    noted.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_the_owner_may_read_what_its_mode_forbids(open_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from snap.sources.readback import ReadBack\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "path = os.fsencode(sys.argv[1])\n"
        "open(path, 'wb').write(b'x')\n"
        "os.chmod(path, 0o200)\n"
        "noted = ReadBack()\n"
        "noted.note(path, 0, b'x')\n"
        "noted.compare()\n"
        "print(oct(os.stat(path).st_mode))\n"
    )
    open_path.chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(open_path / "f")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "0o100200\n", done.stderr
