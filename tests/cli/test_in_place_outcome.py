"""An outcome tells why it failed, in words and as an exit code."""

import pytest

from snap.cli.errors import DAMAGED, FAILED
from snap.cli.in_place_outcome import Outcome
from snap.cli.settings import Settings
from snap.errors import IntegrityError
from snap.repo.snapshot import SUCCESS, Component


def outcome() -> Outcome:
    return Outcome(Component("graph", "neo4j", "/opt/neo4j/neo4j", SUCCESS))


def test_what_fails_is_printed_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    failed = outcome()
    assert failed.status == "success"
    failed.fail(IntegrityError("a pack is damaged", "choose another"), Settings())
    assert (failed.status, failed.error, failed.exit_code) == (
        "failed",
        "a pack is damaged",
        DAMAGED,
    )
    err = capsys.readouterr().err
    assert "graph: a pack is damaged" in err
    assert "choose another" in err


def test_an_error_of_the_system_has_words(capsys: pytest.CaptureFixture[str]) -> None:
    failed = outcome()
    failed.fail(PermissionError(13, "Permission denied", "/data"), Settings())
    assert failed.exit_code == FAILED
    assert "/data" in capsys.readouterr().err
