import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from snap.cli.password import choose_new_password, choose_password, read_password
from snap.cli.settings import PasswordKind, PasswordSource, Settings
from snap.errors import SnapError, UsageError


def _settings(kind: PasswordKind, text: str) -> Settings:
    return Settings(passwords=(PasswordSource(kind, text, "--the-option"),))


def test_a_file_gives_its_text_without_the_line_end(tmp_path: Path) -> None:
    file = tmp_path / "password"
    for content in (b"two words ", b"two words \n", b"two words \r\n"):
        file.write_bytes(content)
        assert read_password(_settings(PasswordKind.FILE, str(file))) == "two words "


def test_bytes_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"caf\xe9\n")
    password = read_password(_settings(PasswordKind.FILE, str(file)))
    assert password.encode("utf-8", "surrogateescape") == b"caf\xe9"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnapError, match=r"gone: no such file or directory") as caught:
        read_password(_settings(PasswordKind.FILE, str(tmp_path / "gone")))
    assert caught.value.exit_code == 1
    assert caught.value.hint == "check --the-option"


def test_a_command_gives_what_it_prints() -> None:
    assert read_password(_settings(PasswordKind.COMMAND, "printf '%s\\n' 'a b'")) == "a b"


def test_a_command_gets_nothing_on_its_standard_input() -> None:
    with pytest.raises(UsageError, match="empty"):
        read_password(_settings(PasswordKind.COMMAND, "cat"))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("false", "failed with exit code 1: false"),
        ("/no/such/program", "cannot run the password command: /no/such/program: no such file"),
        ("'unbalanced", "no closing quotation"),
        (" ", "is empty"),
    ],
)
def test_a_command_that_gives_none_is_named(command: str, message: str) -> None:
    with pytest.raises(SnapError, match=message):
        read_password(_settings(PasswordKind.COMMAND, command))


def test_an_empty_password_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"\n")
    for settings in (
        _settings(PasswordKind.VALUE, ""),
        _settings(PasswordKind.FILE, str(tmp_path / "empty")),
        _settings(PasswordKind.COMMAND, "true"),
    ):
        with pytest.raises(UsageError, match="the password from --the-option is empty"):
            choose_password(settings)


def test_two_variables_at_once_are_refused() -> None:
    sources = tuple(
        PasswordSource(kind, "x", origin)
        for kind, origin in ((PasswordKind.VALUE, "SNAP_PASSWORD"), (PasswordKind.FILE, "FILE"))
    )
    with pytest.raises(UsageError, match="SNAP_PASSWORD and FILE are both set"):
        read_password(Settings(passwords=sources))


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    asking: list[Callable[[], str]] = [
        lambda: read_password(Settings()),
        lambda: choose_password(Settings()),
        lambda: choose_new_password(None),
    ]
    for ask in asking:
        with pytest.raises(UsageError, match="there is no terminal to ask at"):
            ask()


def test_a_new_password_comes_from_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("new one\n")
    assert choose_new_password(str(tmp_path / "new")) == "new one"


def _at_a_terminal(function: str, typed: bytes) -> subprocess.CompletedProcess[str]:
    """Call a function of the module at a pseudo-terminal where someone has typed already."""
    terminal, process_end = os.openpty()
    program = (
        "import sys\n"
        "from snap.cli import password\n"
        "from snap.cli.settings import Settings\n"
        "from snap.errors import SnapError\n"
        "try:\n"
        f"    print(repr(password.{function}(Settings())))\n"
        "except SnapError as error:\n"
        "    print(error)\n"
    )
    try:
        # getpass empties the input before it asks: what is typed has to come after the question.
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=process_end,
            stderr=process_end,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for line in typed.splitlines(keepends=True):
            asked = b""
            while not asked.endswith(b": "):
                asked += os.read(terminal, 100)
            os.write(terminal, line)
        out, _ = process.communicate(timeout=60)
    finally:
        os.close(terminal)
        os.close(process_end)
    return subprocess.CompletedProcess(program, process.returncode, out)


def test_a_person_is_asked_once_to_open_and_twice_to_choose() -> None:
    assert _at_a_terminal("read_password", b"secret\n").stdout == "'secret'\n"
    assert _at_a_terminal("choose_password", b"secret\nsecret\n").stdout == "'secret'\n"


def test_a_person_who_mistypes_is_told() -> None:
    assert _at_a_terminal("choose_password", b"secret\nsecrte\n").stdout == (
        "the two passwords differ\n"
    )


def test_a_person_cannot_give_an_empty_password() -> None:
    assert _at_a_terminal("read_password", b"\n").stdout == "the password is empty\n"
