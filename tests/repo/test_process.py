"""Processes that are gone are told from those that run, also where their numbers are used again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from snap.repo import process
from snap.repo.clock import MINUTE_NS
from snap.repo.process import is_gone, is_left, process_identity, process_mark, process_table

DAY_NS = 24 * 60 * MINUTE_NS


def mark_of_a_dead_process() -> str:
    program = "from snap.repo.process import process_mark; print(process_mark())"
    said = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )
    return said.stdout.strip()


def changed(mark: str, **fields: str) -> str:
    """Return a mark with other fields; those that are not named stay."""
    names = ("pid", "start", "boot", "table", "host")
    return ".".join(fields.get(n, part) for n, part in zip(names, mark.split("."), strict=True))


def test_a_mark_tells_this_process_and_one_that_ended() -> None:
    assert not is_left(process_mark(), 0)
    assert not is_left(process_mark(), 2 * DAY_NS)
    assert is_left(mark_of_a_dead_process(), 0)


def test_a_process_that_has_the_number_of_a_dead_one_is_not_taken_for_it() -> None:
    assert is_left(changed(process_mark(), start="1"), 0)


def test_what_another_container_made_is_left_when_it_is_a_day_old() -> None:
    # The same number as ours may be another process there, or none here be one there.
    for mark in (process_mark(), mark_of_a_dead_process()):
        elsewhere = changed(mark, table="1")
        assert not is_left(elsewhere, DAY_NS)
        assert is_left(elsewhere, DAY_NS + 1)


def test_a_reboot_ends_all_processes_of_this_host_and_none_of_another() -> None:
    rebooted = changed(process_mark(), boot="00000000")
    assert is_left(rebooted, 0)
    another = changed(rebooted, host="00000000")
    assert not is_left(another, DAY_NS)
    assert is_left(another, DAY_NS + 1)


def test_where_the_system_tells_no_more_the_number_has_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = mark_of_a_dead_process().partition(".")[0]
    assert is_left(dead, 0)
    assert not is_left(str(os.getpid()), 2 * DAY_NS)
    monkeypatch.setattr(process, "process_table", lambda: "")
    assert process_mark() == str(os.getpid())
    assert not is_left(f"{os.getpid()}.1.00000000.1.00000000", 2 * DAY_NS)


@pytest.mark.parametrize("name", ["", "x", "12x", "1.2", "1.2.3.4.5", "-1", "\u0661"])
def test_what_is_no_mark_is_nobodys(name: str) -> None:
    assert not is_left(name, 2 * DAY_NS)


def test_a_mark_fits_into_a_name() -> None:
    assert len(process_mark()) < 64
    assert Path(process_mark()).name == process_mark()


def test_an_identity_is_of_one_process_and_one_boot() -> None:
    own = process_identity(os.getpid())
    assert own.startswith(process_table().partition(" ")[0])
    assert not is_gone(os.getpid(), own)
    assert is_gone(os.getpid(), own + "0")
    assert process_identity(2**22 + 1) == ""
    assert is_gone(2**22 + 1, "")
