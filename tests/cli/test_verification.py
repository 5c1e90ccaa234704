"""When all data was read: told by check and status, remembered from one call to the next."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from snap.backends.local import LocalBackend
from snap.cli.verification import (
    moment_before,
    parse_age,
    shown_verified,
    told_verified,
    verified_record,
)
from snap.errors import UsageError
from snap.repo.check_object import CheckObject, encode_check, row_of
from snap.repo.clock import SECOND_NS, system_clock
from snap.repo.ids import Kind
from snap.repo.repository import open_repository
from snap.repo.verified import Coverage

from .conftest import PASSWORD, Result, Snap, flip_last_byte, stored
from .copied import TABLES, configure

DAY_NS = 86_400 * SECOND_NS
SOURCES = '\n[sources.noise]\nkind = "files"\npath = "{}"\n'


@pytest.fixture
def filled(initialized: Snap, clean: Path) -> Snap:
    """A repository with ten packs, made by five backups."""
    noise = clean / "noise"
    noise.mkdir()
    for seed in range(5):
        (noise / str(seed)).write_bytes(random.Random(seed).randbytes(5_000))
        initialized.ok("backup", noise, "-q")
    return initialized


def packs(folder: Path) -> int:
    return len(stored(folder, "data") + stored(folder, "meta"))


def age(place: Path, days: int, *, all_but: int = 0) -> None:
    """Have a place remember that all but some of its packs were read so many days ago."""
    with open_repository(LocalBackend(place), PASSWORD, cache_dir=None) as repository:
        repository.load_index()
        read_ns = system_clock() - days * DAY_NS
        ids = [pack.id for pack in repository.cache.packs()][all_but:]
        rows = b"".join(row_of(id_, read_ns, is_damaged=False) for id_ in ids)
        for name in repository.names("checks/"):
            repository.backend.delete(name)
        body = encode_check(CheckObject(read_ns, 0, frozenset(), rows))
        repository.put_object("checks/", Kind.CHECK, body)


def kinds(result: Result, path: Path) -> set[str]:
    """Return what a check said of one object."""
    return {e["kind"] for e in result.summary["errors"] if e["object"].endswith(path.name)}


# check


def test_shares_that_are_read_one_after_the_other_cover_everything(
    filled: Snap, clean: Path
) -> None:
    count = packs(clean)
    assert count == 10
    told: list[Any] = []
    for _ in range(4):
        told.append(filled.ok("check", "--read-data-subset", "30%", "--json").summary)
    assert [t["never_verified"] for t in told] == [7, 4, 1, 0]
    assert filled.ok("check", "--json").summary["never_verified"] == 0
    sizes = sorted(p.stat().st_size for p in stored(clean, "data") + stored(clean, "meta"))
    assert sum(t["bytes_read"] for t in told[:3]) <= sum(sizes[1:])
    assert sum(t["bytes_read"] for t in told) >= sum(sizes)
    # The last of them read two again.
    assert told[-1]["verified_oldest"] > told[-2]["verified_oldest"]
    assert len(stored(clean, "checks")) == 1
    shown = filled.ok("check").out
    assert "all data was read and found whole since 2" in shown
    filled.ok("backup", clean / "noise", "-q", "--tag", "again")
    (clean / "noise/more").write_bytes(b"more")
    filled.ok("backup", clean / "noise", "-q")
    assert "not read and found whole yet: 2 of 12 packs" in filled.ok("check").out


def test_what_is_older_than_the_age_is_read_again(filled: Snap, clean: Path) -> None:
    total = sum(p.stat().st_size for p in stored(clean, "data") + stored(clean, "meta"))
    age(clean / "repo", 20, all_but=3)
    read = filled.ok("check", "--max-age", "30d", "--json").summary
    assert 0 < read["bytes_read"] < total
    assert read["never_verified"] == 0
    assert filled.ok("check", "--max-age", "30d", "--json").summary["bytes_read"] == 0
    both = filled.ok("check", "--max-age", "30d", "--read-data-subset", "10%", "--json").summary
    # Two of the twelve packs, by chance; whatever they are, the others are older than ten days.
    assert 0 < both["bytes_read"] < total
    old = filled.ok("check", "--max-age", "10d", "--json").summary["bytes_read"]
    assert 0 < old < total
    assert filled.ok("check", "--max-age", "10d", "--json").summary["bytes_read"] == 0


def test_a_wrong_age_is_refused(initialized: Snap) -> None:
    for words in (
        ("--max-age", "soon"),
        ("--max-age", "0d"),
        ("--max-age", "30d", "--read-data"),
        ("--max-age", "30d", "--backend"),
    ):
        assert initialized("check", *words).code == 2
    assert initialized("run", "--max-age", "soon").code == 2


def test_programs_are_told_what_kind_of_damage_it_is(filled: Snap, clean: Path) -> None:
    filled.ok("check", "--read-data")
    missing, short, flipped = stored(clean, "data")[:3]
    missing.unlink()
    short.chmod(0o600)
    short.write_bytes(short.read_bytes()[:-40])
    flip_last_byte(flipped)
    result = filled("check", "--read-data", "--json")
    assert result.code == 4
    assert kinds(result, missing) == {"missing"}
    assert kinds(result, short) == {"truncated", "damaged"}
    assert kinds(result, flipped) == {"damaged"}
    assert result.summary["never_verified"] == 3
    stored(clean, "index")[0].unlink()
    told = {error["kind"] for error in filled("check", "--json").summary["errors"]}
    assert "incomplete" in told, "snapshots need what only that index object named"


def test_a_damaged_check_object_harms_nothing(filled: Snap, clean: Path) -> None:
    filled.ok("check", "--read-data")
    [only] = stored(clean, "checks")
    flip_last_byte(only)
    result = filled.ok("check", "--json")
    assert [only.name in hint for hint in result.summary["hints"]] == [True]
    status = filled.ok("status", "--json")
    assert only.name in status.err
    assert status.json["verified"]["never"] == 10
    filled.ok("check", "--read-data-subset", "1%")
    [now] = stored(clean, "checks")
    assert now != only
    assert filled.ok("check", "--json").summary["hints"] == []


def test_a_place_that_takes_nothing_costs_a_warning(filled: Snap, clean: Path) -> None:
    (clean / "repo/checks").write_text("in the way")
    result = filled("check", "--read-data")
    assert result.code == 0
    assert "snap: warning: that packs were read could not be noted" in result.err
    assert result.out.splitlines()[-1] == "no problems found"


# status


def test_status_tells_since_when_all_data_is_known_to_be_whole(filled: Snap, clean: Path) -> None:
    assert "not read and found whole yet: 10 of 10 packs" in filled.ok("status").out
    told = filled.ok("status", "--json").json["verified"]
    assert told == {"packs": 10, "never": 10, "damaged": 0, "oldest": None}
    filled.ok("check", "--read-data", "-q")
    assert "all data was read and found whole since 2" in filled.ok("status").out
    told = filled.ok("status", "--json").json["verified"]
    assert (told["never"], told["oldest"] is None) == (0, False)


def test_each_place_has_its_own_time(filled: Snap, clean: Path) -> None:
    configure(clean)
    filled.ok("replicate", "--init", "-q")
    filled.ok("check", "--read-data", "-q")
    filled.ok("replicate", "usb", "--verify", "-q")
    told = filled.ok("status", "--json").json
    assert [c["verified"]["never"] for c in told["copies"]] == [0, 0, 10]
    assert told["verified"] == told["copies"][0]["verified"]
    rows = [line for line in filled.ok("status").out.splitlines() if "  whole  " in line]
    assert ["never: 10 of 10 packs" in row for row in rows] == [False, False, True]
    assert [" since 2" in row for row in rows] == [True, True, False]
    filled.ok("-r", "office", "check", "--read-data-subset", "50%", "-q")
    (clean / "usb").rename(clean / "away")
    told = filled("status", "--json").json
    assert told["copies"][1]["verified"] is None
    assert told["copies"][2]["verified"]["never"] == 5


def test_the_rule_may_ask_that_all_was_verified(filled: Snap, clean: Path) -> None:
    rule = '[rule]\nverified_within = "30d"\n'
    configure(clean, 'repository = "repo"\n' + rule)
    # What was never read was put today.
    assert filled.ok("status", "--json").json["overdue"] == []
    age(clean / "repo", 40, all_but=3)
    result = filled("status", "--json")
    assert result.code == 4
    reason = "repository: 7 of 10 packs were not read and found whole within 30d"
    assert (result.json["ok"], result.json["overdue"]) == (False, [reason])
    assert f"OVERDUE: {reason}" in filled("status").out
    configure(clean, TABLES + rule)
    filled.ok("replicate", "--init", "-q")
    age(clean / "office", 31, all_but=9)
    told = filled("status", "--json")
    assert told.code == 4
    office = "office: 1 of 10 packs was not read and found whole within 30d"
    assert told.json["rule"]["reasons"] == [reason, office]
    assert (told.json["rule"]["ok"], told.json["rule"]["verified_within"]) == (False, "30d")
    assert "RULE BROKEN" in filled("status").out
    filled.ok("check", "--max-age", "30d", "-q")
    filled.ok("-r", "office", "check", "--max-age", "30d", "-q")
    assert "off-site, verified within 30d" in filled.ok("status").out
    # A pack that is damaged is not whole, however new.
    flip_last_byte(stored(clean, "data")[0])
    assert filled("check", "--read-data", "-q").code == 4
    assert filled("status", "--json").json["rule"]["reasons"] == [
        "repository: 1 of 10 packs was not read and found whole within 30d"
    ]


# run


def test_the_night_reads_what_is_most_overdue(filled: Snap, clean: Path) -> None:
    text = 'repository = "repo"\n' + SOURCES.format(clean / "noise")
    configure(clean, text)
    left = []
    for _ in range(3):
        steps = filled.ok("run", "--read-data-subset", "50%", "--json").summary["steps"]
        by_name = {step["step"]: step["result"] for step in steps}
        left.append(by_name["check"]["never_verified"])
        assert by_name["status"]["verified"]["never"] == left[-1]
    assert left[0] > left[1] >= left[2] == 0
    age(clean / "repo", 100)
    steps = filled.ok("run", "--max-age", "3m", "--json").summary["steps"]
    oldest = next(s["result"]["verified_oldest"] for s in steps if s["step"] == "check")
    assert json.dumps(oldest) > json.dumps(filled.ok("snapshots", "--json").json[0]["time"])


# words


@pytest.mark.parametrize(
    ("text", "before"),
    [("1d", DAY_NS), ("36h", DAY_NS * 3 // 2), ("1m", 31 * DAY_NS), ("1y", 365 * DAY_NS)],
)
def test_an_age_is_counted_back_by_the_calendar(text: str, before: int) -> None:
    now = 1_790_000_000_000_000_000
    assert moment_before(parse_age(text), now) == now - before
    assert moment_before(parse_age("9999y"), now) == 0


def test_what_is_no_age_is_refused() -> None:
    for text in ("", "30", "d", "0h", "-3d"):
        with pytest.raises(UsageError):
            parse_age(text)


def test_coverage_in_words(clean: Path) -> None:
    some = Coverage(packs=1000, never=12, damaged=2, oldest_ns=0)
    assert shown_verified(some) == "2 packs found damaged; never: 10 of 1,000 packs"
    assert (
        told_verified(some) == "not read and found whole yet: 12 of 1,000 packs, 2 of them damaged"
    )
    assert shown_verified(Coverage(3, 0, 0, 0)) == "since 1970-01-01 01:00:00"
    assert shown_verified(Coverage()) == shown_verified(None) == "-"
    assert verified_record(None) is None
