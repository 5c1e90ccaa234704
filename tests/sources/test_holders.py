import subprocess
import sys
from pathlib import Path

from snap.sources.holders import describe_holders


def test_the_process_that_has_a_file_open_is_named(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    assert describe_holders(path) == ""
    script = "import sys; f = open(sys.argv[1]); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        described = describe_holders(path)
        holder.communicate(b"\n")
    assert f"process {holder.pid}" in described
    assert described.startswith(" (held by ")


def test_a_missing_file_has_no_holders(tmp_path: Path) -> None:
    assert describe_holders(tmp_path / "none") == ""
