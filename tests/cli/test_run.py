import shutil
from pathlib import Path

import pytest

from .conftest import Snap, stored
from .copied import TABLES, configure

SOURCES = """
[sources.settings]
kind = "files"
path = "FOLDER"
"""


@pytest.fixture
def night(initialized: Snap, folder: Path, clean: Path) -> Snap:
    """A repository with a source and two copies that are configured."""
    configure(clean, TABLES + SOURCES.replace("FOLDER", str(folder)))
    for name in ("usb", "office"):
        initialized.ok("init", "--copy-of", clean / "repo", "-r", name, "-q")
    return initialized


def test_a_run_backs_up_checks_replicates_and_says_how_things_stand(
    night: Snap, clean: Path
) -> None:
    result = night.ok("run", "--json")
    told = result.summary
    assert (told["ok"], told["exit_code"]) == (True, 0)
    assert [(s["step"], s["exit_code"]) for s in told["steps"]] == [
        ("backup", 0),
        ("check", 0),
        ("replicate", 0),
        ("status", 0),
    ]
    assert [line for line in result.lines if line["message_type"] == "summary"] == [told]
    backup, check, replicate, status = (s["result"] for s in told["steps"])
    assert backup["components"][0]["name"] == "settings"
    assert check["bytes_read"] > 0
    assert [c["snapshots"] for c in replicate["copies"]] == [1, 1]
    assert status["snapshots"][0]["copies"] == ["repository", "usb", "office"]
    shutil.rmtree(clean / "repo")
    night.ok("-r", "office", "restore", "latest", "--target", "out")
    assert (clean / "out/settings/a.txt").read_bytes() == b"alpha\n"


def test_people_get_each_part_and_one_table_at_the_end(night: Snap) -> None:
    shown = night.ok("run").out
    for part in ("stored", "no problems found", "up to date", "rule kept"):
        assert part in shown
    assert [line.split()[0] for line in shown.splitlines()[-5:]] == [
        "step",
        "backup",
        "check",
        "replicate",
        "status",
    ]
    assert night.ok("run", "-q").out == ""


def test_a_step_that_fails_does_not_keep_the_next_from_being_done(
    night: Snap, clean: Path, folder: Path
) -> None:
    night.ok("run", "-q")
    night.ok("backup", "-q")
    shutil.rmtree(folder)
    shutil.rmtree(clean / "usb")
    result = night("run", "--json")
    assert result.code == 4
    assert [(s["step"], s["exit_code"]) for s in result.summary["steps"]] == [
        ("backup", 1),
        ("check", 0),
        ("replicate", 3),
        # The rule is broken without that copy.
        ("status", 4),
    ]
    office = result.summary["steps"][2]["result"]["copies"][1]
    assert (office["ok"], office["snapshots"]) == (True, 1)


def test_damage_is_found_and_everything_else_is_done(night: Snap, clean: Path) -> None:
    night.ok("run", "-q")
    stored(clean, "meta")[0].unlink()
    result = night("run", "--json")
    assert result.code == 4
    codes = {s["step"]: s["exit_code"] for s in result.summary["steps"]}
    assert codes["check"] == 4
    assert codes["replicate"] == 0


def test_without_copies_and_without_sources(initialized: Snap, clean: Path, folder: Path) -> None:
    assert initialized("run").code == 2
    configure(clean, 'repository = "repo"\n' + SOURCES.replace("FOLDER", str(folder)))
    assert [s["step"] for s in initialized.ok("run", "--json").summary["steps"]] == [
        "backup",
        "check",
        "status",
    ]
    assert initialized("run", "--read-data-subset", "nothing").code == 2


def test_a_run_forgets_here_and_in_the_copies_as_configured(night: Snap, clean: Path) -> None:
    with (clean / "home/.config/snap/snap.toml").open("a") as file:
        file.write("[retention]\nkeep_last = 2\n[copies.usb.retention]\nkeep_last = 1\n")
    for _ in range(3):
        night.ok("backup")
    told = night("run", "--json").summary
    assert [(s["step"], s["exit_code"]) for s in told["steps"]] == [
        ("backup", 0),
        ("check", 0),
        ("forget", 0),
        ("prune", 0),
        ("replicate", 0),
        ("forget in usb", 0),
        ("prune in usb", 0),
        ("status", 0),
    ]
    counts = [len(night.ok("-r", r, "snapshots", "--json").json) for r in ("repo", "office", "usb")]
    assert counts == [2, 2, 1]
    assert night("run", "--json").summary["ok"]
