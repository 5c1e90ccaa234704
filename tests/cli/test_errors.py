import json

import click
import pytest

from snap.cli.errors import print_error, report_failure, words_of_os_error, worst
from snap.errors import IntegrityError, SnapError, UsageError


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (SnapError("it broke", "mend it"), 1, "snap: error: it broke\nsnap: hint: mend it\n"),
        (UsageError("not so"), 2, "snap: error: not so\n"),
        (IntegrityError("x: damaged", "do"), 4, "snap: error: x: damaged\nsnap: hint: do\n"),
        (OSError(13, "Permission denied", "/f"), 1, "snap: error: /f: permission denied\n"),
        (KeyboardInterrupt(), 130, "snap: error: interrupted\n"),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
        (click.UsageError("Some thing."), 2, "snap: error: some thing\n"),
        (click.exceptions.Exit(0), 0, ""),
    ],
)
def test_every_failure_has_its_words_and_code(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report_failure(error, as_json=False) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", words)


def test_every_error_that_people_see_keeps_its_exit_code() -> None:
    from snap.repo.config import FormatTooNew, RepositoryNotFound
    from snap.repo.keys import FullKeyRequired, WrongPassword
    from snap.repo.lease import RepositoryLocked

    expected = {
        RepositoryNotFound: 10,
        RepositoryLocked: 11,
        WrongPassword: 12,
        FormatTooNew: 13,
        FullKeyRequired: 1,
    }
    for kind, code in expected.items():
        assert report_failure(kind("x"), as_json=True) == code


def test_a_bug_has_a_traceback_and_code_70(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        _ = list[int]()[0]
    except IndexError as error:
        assert report_failure(error, as_json=False) == 70
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert "snap: error: this is a bug in snap: IndexError" in err


def test_json_errors_are_one_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("a\nb", "c", code=4, as_json=True)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert json.loads(err) == {"message_type": "error", "code": 4, "message": "a\nb", "hint": "c"}


def test_control_characters_in_a_message_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("name \x1b]0;x\x07", "h\x1b", code=1, as_json=False)
    assert capsys.readouterr().err == "snap: error: name \\x1b]0;x\\x07\nsnap: hint: h\\x1b\n"


def test_an_error_of_the_system_names_the_file_where_there_is_one() -> None:
    assert words_of_os_error(OSError(28, "No space left on device")) == "no space left on device"
    assert words_of_os_error(OSError("odd")) == "odd"


@pytest.mark.parametrize(
    ("codes", "expected"), [([], 0), ([0, 0], 0), ([0, 3], 3), ([3, 1], 1), ([4, 1, 3, 0], 4)]
)
def test_the_worst_code_counts(codes: list[int], expected: int) -> None:
    assert worst(codes) == expected


def test_json_errors_are_valid_unicode_whatever_a_name_holds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_error("a\udcff", code=1, as_json=True)
    assert json.loads(capsys.readouterr().err)["message"] == "a\\xff"
