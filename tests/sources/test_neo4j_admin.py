import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.sources.neo4j_admin import Account, AdminProgram

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def program(folder: Path, script: str, account: Account | None = None) -> AdminProgram:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return AdminProgram(path, settings={"NEO4J_HOME": "/a home"}, account=account)


def is_gone(pid: int) -> bool:
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_what_it_says_and_how_it_ends_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO4J_DEBUG", "true")
    monkeypatch.setenv("SOME_VARIABLE", "kept")
    admin = program(
        tmp_path,
        'echo "$1 $NEO4J_HOME $HEAP_SIZE $MORE $NEO4J_DEBUG $SOME_VARIABLE"; echo no >&2; exit 3',
    )
    ended = admin.run(["one"], 60, settings={"MORE": "more"})
    assert ended == (3, "one /a home 256m more  kept\n", "no\n")


def test_one_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    admin = program(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; echo slowly; wait")
    with pytest.raises(SourceError, match="program x takes longer than 5 seconds"):
        # Time enough for its child to be noted, on a busy machine as well.
        admin.run(["x"], 5)
    assert is_gone(int((tmp_path / "child").read_text()))


def test_what_it_leaves_running_does_not_hold_it_up(tmp_path: Path) -> None:
    admin = program(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; echo started")
    assert admin.run([], 60, leaves=True).stdout == "started\n"
    child = int((tmp_path / "child").read_text())
    try:
        assert Path(f"/proc/{child}").exists()
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_stream_is_given_to_its_end_whatever_stands_on_standard_error(tmp_path: Path) -> None:
    admin = program(tmp_path, "seq 100000 >&2; seq 100000; exit 7")
    with admin.stream([]) as stream:
        parts = []
        while part := stream.read(1 << 16):
            parts.append(part)
        ended = stream.wait()
    assert b"".join(parts) == "".join(f"{i}\n" for i in range(1, 100_001)).encode()
    assert ended.code == 7
    assert ended.stderr.endswith("99999\n100000\n")


def test_a_stream_left_early_ends_the_program(tmp_path: Path) -> None:
    admin = program(tmp_path, f"echo $$ > {tmp_path}/pid; yes & yes")
    with admin.stream([]) as stream:
        assert stream.read(2) == b"y\n"
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_everything_is_fed(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    admin = program(tmp_path, f"cat > {tmp_path}/fed; echo done")
    assert admin.feed([], io.BytesIO(data)).stdout == "done\n"
    assert (tmp_path / "fed").read_bytes() == data


def test_one_that_does_not_read_tells_why(tmp_path: Path) -> None:
    admin = program(tmp_path, "echo no thanks >&2; exit 1")
    assert admin.feed([], io.BytesIO(bytes(8 << 20))) == (1, "", "no thanks\n")


class _Torn(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise SourceError("torn")
        return super().read(size)


def test_a_source_that_fails_ends_the_program(tmp_path: Path) -> None:
    admin = program(tmp_path, f"echo $$ > {tmp_path}/pid; cat; sleep 60")
    with pytest.raises(SourceError, match="torn"):
        admin.feed([], _Torn(bytes(2 << 20)))
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    admin = program(tmp_path, "true", Account(os.getuid(), os.getgid()) if os.getuid() else None)
    (tmp_path / "program").unlink()
    ended = admin.run([], 60)
    assert ended.code == 127
    assert "No such file or directory" in ended.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_it_runs_as_whom_it_was_told(open_path: Path) -> None:
    admin = program(open_path, "id -u; id -g; id -G", Account(7474, 7475))
    assert admin.run([], 60).stdout.split() == ["7474", "7475", "7475"]


def test_a_ctrl_c_is_not_for_the_program(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from snap.sources.neo4j_admin import AdminProgram
admin = AdminProgram(Path({str(tmp_path / "program")!r}), settings={{}}, account=None)
with admin.stream([]) as stream:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.killpg(0, signal.SIGINT)
    print(stream.read(9))
"""
    program(tmp_path, "sleep 0.5; echo finished")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, start_new_session=True, check=True
    )
    assert done.stdout == b"b'finished\\n'\n"
