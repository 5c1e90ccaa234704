import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from snap import __version__
from snap.cli.main import COMMANDS, root

from .conftest import PASSWORD, Snap, flip_last_byte, stored

HEAVY = ("rich", "cryptography", "zstandard", "blake3", "msgpack", "snap.repo", "snap.sources")


# A job in the background of a script has Ctrl-C ignored, and so would what it starts.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from snap.cli.main import main
main()
"""


def _process(
    *arguments: str | Path, cwd: Path, stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        start_new_session=True,
        check=False,
        timeout=60,
    )


def test_version_is_printed(snap: Snap) -> None:
    assert snap.ok("--version").out == f"snap {__version__}\n"


def test_version_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom snap.cli.main import run\n"
        f"run(['--version'])\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().splitlines()[1] == "[]"


def test_the_process_exits_with_the_code_of_the_call(clean: Path) -> None:
    done = _process("--repo", "nowhere", "snapshots", cwd=clean)
    assert done.returncode == 10
    assert done.stderr.startswith(b"snap: error: no repository at ")


def test_each_command_has_its_line_of_help_in_the_list() -> None:
    context = click.Context(root)
    for name, line in COMMANDS.items():
        command = root.get_command(context, name)
        assert command is not None
        assert command.help is not None
        first = " ".join(command.help.split("\n\n")[0].split())
        assert first.startswith(line.removesuffix(".")), name


def test_help_lists_every_command_and_goes_to_standard_output(snap: Snap) -> None:
    result = snap.ok("--help")
    assert all(f"  {name} " in result.out for name in COMMANDS)
    assert result.err == ""


@pytest.mark.parametrize("command", [*COMMANDS, "key add", "key list", "key remove", "key passwd"])
def test_every_command_explains_itself_and_has_the_global_options(snap: Snap, command: str) -> None:
    result = snap.ok(*command.split(), "--help")
    assert "Global options:" in result.out
    assert "--password-command CMD" in result.out
    assert result.err == ""


def test_without_a_command_help_goes_to_standard_error(snap: Snap) -> None:
    result = snap()
    assert result.code == 2
    assert result.out == ""
    assert "Commands:" in result.err


def test_a_mistyped_command_gets_a_suggestion(snap: Snap) -> None:
    result = snap("snapshot")
    assert result.code == 2
    assert result.err == (
        "snap: error: no such command: 'snapshot'\nsnap: hint: did you mean 'snap snapshots'?\n"
    )


def test_a_mistyped_command_of_a_group_gets_a_suggestion(snap: Snap) -> None:
    result = snap("key", "lits")
    assert result.code == 2
    assert "did you mean 'snap key list'?" in result.err


def test_a_mistyped_option_gets_a_suggestion(snap: Snap) -> None:
    result = snap("backup", "--dryrun", "x")
    assert result.code == 2
    assert result.err == (
        "snap: error: no such option: --dryrun\nsnap: hint: did you mean --dry-run?\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["restore", "latest"], "nothing says where to restore to"),
        (["ls"], "missing argument 'SNAP[:COMPONENT[/PATH]]'"),
        (["snapshots", "--latest", "x"], "'x' is not a valid integer"),
        (["stats", "more"], "got unexpected extra argument (more)"),
        (["backup", "--in-place"], "no such option: --in-place"),
        (["--confgi", "x"], "no such option: --confgi"),
    ],
)
def test_a_wrong_call_is_said_in_our_style(snap: Snap, arguments: list[str], message: str) -> None:
    result = snap(*arguments)
    assert result.code == 2
    first = result.err.splitlines()[0]
    assert first.startswith("snap: error: ")
    assert message in first
    assert not first.endswith(".")
    assert "Traceback" not in result.err


def test_errors_are_json_where_json_is_asked_for(snap: Snap) -> None:
    for arguments in (["--json", "snapshots"], ["snapshots", "--json"]):
        result = snap(*arguments)
        assert result.code == 10
        assert result.out == ""
        error = json.loads(result.err)
        assert set(error) == {"message_type", "code", "message", "hint"}
        assert (error["message_type"], error["code"]) == ("error", 10)


def test_errors_of_the_arguments_are_json_too(snap: Snap) -> None:
    result = snap("backup", "--nonsense", "--json")
    assert json.loads(result.err)["code"] == 2


def test_global_options_are_taken_before_and_after_the_command(
    initialized: Snap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SNAP_REPOSITORY")
    assert initialized("--repo", "repo", "--json", "snapshots").json == []
    assert initialized("snapshots", "--repo", "repo", "--json").json == []
    assert len(initialized("key", "--repo", "repo", "list", "--json").json) == 2


def test_a_global_option_after_the_command_wins(initialized: Snap) -> None:
    assert initialized("--repo", "nowhere", "snapshots", "--repo", "repo").code == 0
    assert initialized("--repo", "repo", "snapshots", "--repo", "nowhere").code == 10


def test_an_option_wins_over_the_environment(
    initialized: Snap, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAP_PASSWORD", "wrong")
    (clean / "password").write_text(PASSWORD + "\n")
    assert initialized("snapshots").code == 12
    assert initialized("snapshots", "--password-file", "password").code == 0


def test_no_repository_given_is_a_usage_error(snap: Snap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNAP_REPOSITORY")
    result = snap("snapshots")
    assert result.code == 2
    assert "no repository given" in result.err
    assert "SNAP_REPOSITORY" in result.err


# One test for each exit code that can be reached.


def test_exit_code_0_when_done(initialized: Snap) -> None:
    assert initialized("snapshots").code == 0


def test_exit_code_1_when_failed(initialized: Snap) -> None:
    assert initialized("backup", "no-such-folder").code == 1


def test_exit_code_2_for_a_wrong_call(initialized: Snap) -> None:
    assert initialized("backup").code == 2


def test_exit_code_3_when_a_snapshot_has_gaps(initialized: Snap, folder: Path) -> None:
    assert initialized("backup", "folder", "no-such-folder").code == 3


def test_exit_code_4_when_something_is_damaged(
    initialized: Snap, folder: Path, clean: Path
) -> None:
    initialized.ok("backup", "folder")
    flip_last_byte(stored(clean, "data")[0])
    assert initialized("check", "--read-data").code == 4


def test_exit_code_10_where_there_is_no_repository(snap: Snap) -> None:
    assert snap("snapshots").code == 10


def test_exit_code_10_comes_before_the_password(
    snap: Snap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SNAP_PASSWORD")
    assert snap("snapshots").code == 10


def test_exit_code_12_for_a_wrong_password(
    initialized: Snap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAP_PASSWORD", "wrong")
    result = initialized("snapshots")
    assert result.code == 12
    assert "wrong passphrase" in result.err


def test_exit_code_13_for_a_newer_format(initialized: Snap, clean: Path) -> None:
    config = clean / "repo" / "config"
    config.chmod(0o600)
    config.write_bytes(
        config.read_bytes().replace(b'"snap_repository": 1', b'"snap_repository": 2')
    )
    result = initialized("snapshots")
    assert result.code == 13
    assert "newer version" in result.err


def test_exit_code_70_for_a_bug_with_a_traceback(
    snap: Snap, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def broken() -> None:
        raise ZeroDivisionError("never thought of")

    monkeypatch.setattr("snap.cli.stats.command", broken)
    result = snap("stats")
    assert result.code == 70
    assert "Traceback" in result.err
    assert "please report" in result.err


@pytest.mark.parametrize("signal", ["INT", "TERM"])
def test_exit_code_130_when_interrupted_and_the_next_backup_works(
    initialized: Snap, clean: Path, signal: str
) -> None:
    done = _process(
        "backup",
        "--name",
        "x",
        "--command",
        f"echo begun; kill -{signal} $PPID; exec sleep 50",
        cwd=clean,
    )
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == b"snap: error: interrupted"
    assert b"Traceback" not in done.stderr
    assert initialized("snapshots", "--json").json == []
    initialized.ok("backup", "--name", "x", "--command", "echo done")
    initialized.ok("check", "--read-data")


def test_a_reader_that_goes_away_is_no_news(
    two_snapshots: tuple[Snap, str, str], clean: Path
) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = _process("ls", "latest", cwd=clean, stdout=write_end)
    finally:
        os.close(write_end)
    assert done.stderr == b""
    assert done.returncode == 1


def test_a_full_output_is_an_error(two_snapshots: tuple[Snap, str, str], clean: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = _process("ls", "latest", cwd=clean, stdout=full.fileno())
    assert done.returncode == 1
    assert done.stderr == b"snap: error: no space left on device\n"


def test_closed_streams_are_no_bug(two_snapshots: tuple[Snap, str, str], clean: Path) -> None:
    call = [sys.executable, "-m", "snap", "ls", "latest"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&-', "sh", *call],
        cwd=clean,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_closed_standard_input_holds_nothing(initialized: Snap, clean: Path) -> None:
    call = [sys.executable, "-m", "snap", "backup", "--stdin", "--name", "x"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *call],
        cwd=clean,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["backup", "run", "replicate"])
def test_what_waits_for_a_slow_line_ends_at_once(
    number: int, command: str, initialized: Snap, clean: Path, folder: Path
) -> None:
    words = '[sources.folder]\nkind = "files"\npath = "folder"\n'
    words += '[copies.office]\nlocation = "office"\nmedia = "x"\n'
    (clean / "snap.toml").write_text(words)
    (folder / "noise").write_bytes(random.Random(1).randbytes(4 << 20))
    if command == "replicate":
        initialized.ok("backup", "folder", "-q")
        initialized.ok("init", "--copy-of", clean / "repo", "-r", clean / "office")
    slow = ["--limit-upload", "1", "--config", "snap.toml"]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, command, *slow],
        cwd=clean,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    place = clean / ("office" if command == "replicate" else "repo")
    ends = time.monotonic() + 60
    while not list((place / "leases").glob("*")) and time.monotonic() < ends:
        assert process.poll() is None
        time.sleep(0.05)
    # By now it waits, which nobody can see from here; if not yet, it has to end as well.
    time.sleep(1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.decode().endswith("snap: error: interrupted\n")
    assert b"Traceback" not in err
    assert b"check" not in out


@pytest.mark.parametrize("group", ["hold", "key", "config"])
def test_a_group_without_a_command_is_an_error_for_programs_too(snap: Snap, group: str) -> None:
    result = snap("--json", group)
    assert result.code == 2
    told = json.loads(result.err)
    assert (told["message_type"], told["code"]) == ("error", 2)
    assert f"snap {group} --help" in told["hint"]
    assert "Usage: " in snap(group).err
