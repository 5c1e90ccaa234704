"""What a command starts does not outlive the backup, and does not hold it up."""

import contextlib
import os
import shutil
import time
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.sources.command import CommandSource, StdinSource

from .contract import open_descriptors, read_all

LIMIT_SECONDS = 30
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


def wait_until_gone(pids: list[int]) -> None:
    limit = time.monotonic() + LIMIT_SECONDS
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < limit, "still running"


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    # A zombie that nobody waits for here has ended.
    return state != "Z"


def members_of(group: int) -> list[int]:
    found = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(pid) == group and is_running(pid):
                found.append(pid)
    return found


def wait_for_pids(note: Path) -> list[int]:
    limit = time.monotonic() + LIMIT_SECONDS
    while not note.exists() or not note.read_text().endswith("\n"):
        assert time.monotonic() < limit
    return [int(word) for word in note.read_text().split()]


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"], ids=["plain", "ignores the signal"])
def test_leaving_early_ends_what_outlives_the_command_itself(tmp_path: Path, trap: str) -> None:
    note = tmp_path / "pids"
    before = open_descriptors()
    command = (
        f"({trap} echo $$ $BASHPID > {note}; sleep 1000; sleep 1000) & "
        f"while [ ! -s {note} ]; do :; done; echo begun"
    )
    with CommandSource(command, name="x").open() as view:
        next(iter(view.entries()))
        shell, child = wait_for_pids(note)
        wait_until_gone([shell])
        assert is_running(child)
    wait_until_gone([child])
    assert open_descriptors() == before


def test_leaving_early_ends_every_part_of_a_pipe(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    command = f"yes | (echo $$ $BASHPID > {note}; cat)"
    with CommandSource(command, name="x").open() as view:
        (entry,) = view.entries()
        assert entry.open is not None
        with entry.open() as reader:
            assert reader.read(4) == b"y\ny\n"
        pids = wait_for_pids(note)
        members = members_of(os.getpgid(pids[0]))
    assert set(pids) < set(members), "the shells and what they run"
    wait_until_gone(members)


def test_what_keeps_stderr_open_does_not_hold_up_the_end(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    command = f"sleep 1000 > /dev/null & echo $! > {note}; echo data"
    began = time.monotonic()
    _, contents, report = read_all(CommandSource(command, name="x"))
    assert contents == {b"x": b"data\n"}
    assert report.statistics["bytes"] == 5
    assert time.monotonic() - began < LIMIT_SECONDS
    wait_until_gone(wait_for_pids(note))


def test_several_megabytes_come_through_byte_for_byte(tmp_path: Path) -> None:
    data = os.urandom(7_654_321)
    (tmp_path / "data").write_bytes(data)
    _, contents, report = read_all(CommandSource(["cat", str(tmp_path / "data")], name="x"))
    assert contents == {b"x": data}
    assert report.statistics["bytes"] == len(data)


def test_a_program_that_may_not_be_run_is_a_source_error(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o644)
    with pytest.raises(SourceError, match="Permission denied") as caught:
        read_all(CommandSource([str(program)], name="x"))
    assert caught.value.hint


def test_a_command_gets_no_input_of_ours() -> None:
    _, contents, _ = read_all(CommandSource("wc -c", name="x"))
    assert contents[b"x"].strip() == b"0"


def test_stderr_that_is_no_text_is_shown_escaped() -> None:
    with pytest.raises(SourceError, match=r"\\xff\\xfe"):
        read_all(CommandSource(r"printf '\377\376' >&2; exit 1", name="x"))


def test_standard_input_from_a_file_is_read_whole(tmp_path: Path) -> None:
    data = os.urandom(3_000_001)
    (tmp_path / "f").write_bytes(data)
    with (tmp_path / "f").open("rb") as stream:
        _, contents, _ = read_all(StdinSource(stream, name="in"))
        assert not stream.closed
    assert contents == {b"in": data}
