import io
import os
import signal
import time
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.sources.command import CommandSource, StdinSource

from .contract import read_all


def failure(command: str | list[str]) -> str:
    with pytest.raises(SourceError) as caught:
        read_all(CommandSource(command, name="x"))
    return str(caught.value)


def test_the_output_is_one_file_and_its_size_is_recorded() -> None:
    _, contents, report = read_all(CommandSource(["printf", "hello"], name="out.txt"))
    assert contents == {b"out.txt": b"hello"}
    assert (report.statistics["bytes"], report.statistics["exit_code"]) == (5, 0)


def test_a_command_that_fails_is_an_error_that_says_what_it_said() -> None:
    assert "exit code 3: disk on fire" in failure("echo data; echo disk on fire >&2; exit 3")
    assert "signal 9" in failure("echo data; kill -9 $$")
    assert "cannot run" in failure(["/no/such/program"])
    assert "exit code 127" in failure("no-such-program")


def test_a_failure_on_the_left_of_a_pipe_is_a_failure() -> None:
    if not Path("/bin/bash").exists():
        pytest.skip("there is no bash here")
    assert "exit code 1" in failure("(echo part; exit 1) | cat")


def test_a_command_that_prints_nothing_is_an_error() -> None:
    assert "printed nothing" in failure("true")
    assert "printed nothing: but this" in failure("echo but this >&2")


def test_what_a_command_says_while_it_succeeds_is_a_warning() -> None:
    _, _, report = read_all(CommandSource("echo careful >&2; echo data", name="x"))
    assert list(report.warnings) == ["the command said: careful"]


def test_only_the_end_of_much_talk_is_kept() -> None:
    said = failure("seq 100000 >&2; echo data; exit 1")
    assert said.endswith("100000")
    assert len(said) < 5000


def test_leaving_early_ends_the_command_and_all_that_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    command = f"echo begun; sleep 100 & echo $$ $! > {note}; wait"
    with CommandSource(command, name="x").open() as view:
        (entry,) = view.entries()
        assert entry.open is not None
        limit = time.monotonic() + 20
        while not note.exists() or not note.read_text().endswith("\n"):
            assert time.monotonic() < limit
    for pid in map(int, note.read_text().split()):
        while is_running(pid):
            assert time.monotonic() < limit + 20


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie waiting for its parent has ended.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_command_that_ignores_the_first_signal_is_killed() -> None:
    command = "trap '' TERM; echo begun; while :; do sleep 0.1; done"
    source = CommandSource(command, name="x")
    with source.open() as view:
        (entry,) = view.entries()
        assert entry.open is not None
        assert entry.open().__enter__().read(6) == b"begun\n"
    assert signal.SIGKILL  # left within the grace time, else this test would hang


def test_standard_input_is_stored_and_an_empty_one_is_an_error() -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"piped")
    os.close(write_end)
    with os.fdopen(read_end, "rb") as stream:
        _, contents, report = read_all(StdinSource(stream, name="in"))
    assert contents == {b"in": b"piped"}
    assert report.statistics == {"bytes": 5}
    with pytest.raises(SourceError, match="empty") as caught:
        read_all(StdinSource(io.BytesIO(b""), name="in"))
    assert "--command" in caught.value.hint
