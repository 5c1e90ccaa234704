"""What ``snap status`` says of copies, in each of the states that they can be in."""

import shutil
from pathlib import Path
from typing import Any

from .conftest import Snap
from .copied import TABLES, configure


def states(told: Any) -> list[tuple[str, str, int]]:
    return [(c["name"], c["state"], c["behind"]) for c in told["copies"]]


def test_without_copies_there_is_nothing_of_them(initialized: Snap) -> None:
    assert "copies" not in initialized.ok("status", "--json").json
    assert "rule" not in initialized.ok("status").out


def test_all_well(copied: Snap, clean: Path) -> None:
    told = copied.ok("status", "--json").json
    assert told["ok"]
    assert states(told) == [("repository", "whole", 0), ("usb", "whole", 0), ("office", "whole", 0)]
    assert told["rule"] == {"ok": True, "copies": 3, "media": 2, "offsite": 1, "reasons": []}
    [snapshot] = told["snapshots"]
    assert snapshot["copies"] == ["repository", "usb", "office"]
    assert (snapshot["media"], snapshot["offsite"], snapshot["ok"]) == (3, 1, True)
    assert "rule kept: every snapshot has 3 copies, 2 media, 1 off-site" in copied.ok("status").out
    # Asked from a copy: that one comes first, and the repository is one of the others.
    told = copied.ok("-r", "office", "status", "--json").json
    assert [(c["name"], c["media"], c["offsite"]) for c in told["copies"]] == [
        ("office", "server", True),
        ("repository", "disk", False),
        ("usb", "usb disk", False),
    ]
    assert told["rule"]["ok"]
    shutil.rmtree(clean / "repo")
    told = copied("-r", "office", "status", "--json").json
    assert states(told)[:2] == [("office", "whole", 0), ("repository", "missing", 1)]


def test_off_site_behind(copied: Snap) -> None:
    copied.ok("backup", "folder", "-q")
    copied.ok("replicate", "usb", "-q")
    result = copied("status", "--json")
    assert result.code == 4
    told = result.json
    assert states(told)[2] == ("office", "whole", 1)
    assert told["copies"][2]["behind_seconds"] >= 0
    assert [s["ok"] for s in told["snapshots"]] == [True, False]
    assert told["rule"]["reasons"] == [
        "1 of 2 snapshots is in fewer than 3 copies",
        "1 of 2 snapshots is not off-site",
    ]
    shown = copied("status").out
    assert "1 snapshot, 0 min" in shown
    assert "RULE BROKEN" in shown
    copied.ok("replicate", "-q")
    copied.ok("status")


def test_a_copy_that_cannot_be_reached_is_named_and_the_rule_decides(
    copied: Snap, clean: Path
) -> None:
    (clean / "usb").rename(clean / "away")
    result = copied("status", "--json")
    assert result.code == 4
    assert states(result.json)[1] == ("usb", "missing", 1)
    (clean / "usb").write_text("in the way")
    result = copied("status")
    assert result.code == 4
    assert "UNREACHABLE: usb: " in result.out
    configure(clean, TABLES + "[rule]\ncopies = 2\n")
    assert "UNREACHABLE: usb: " in copied.ok("status").out


def test_copies_on_one_medium(copied: Snap, clean: Path) -> None:
    configure(clean, TABLES.replace("usb disk", "disk").replace("server", "disk"))
    result = copied("status", "--json")
    assert result.code == 4
    assert result.json["rule"]["reasons"] == ["1 of 1 snapshots is on fewer than 2 media"]


def test_an_incomplete_a_damaged_and_somebody_elses_copy_do_not_count(
    copied: Snap, clean: Path
) -> None:
    configure(clean, TABLES + "[rule]\ncopies = 2\nmedia = 2\noffsite = 1\n")
    shutil.rmtree(clean / "usb/data")
    result = copied("status", "--json")
    # Though the others are enough: a copy that is broken wants a hand.
    assert (result.code, result.json["rule"]["ok"]) == (4, True)
    assert states(result.json)[1] == ("usb", "incomplete", 0)
    assert result.json["snapshots"][0]["copies"] == ["repository", "office"]
    shown = copied("status").out
    assert "INCOMPLETE: usb: 1 of the packs that its index names are missing" in shown
    (clean / "usb/config").write_text("{}")
    assert states(copied("status", "--json").json)[1][1] == "damaged"
    shutil.rmtree(clean / "usb")
    copied.ok("init", "--kdf-seconds", "0", "-q", "-r", clean / "usb")
    assert "FOREIGN: usb: " in copied("status").out


def test_what_the_repository_lost_and_a_copy_has_is_told(copied: Snap, clean: Path) -> None:
    next((clean / "repo/snapshots").iterdir()).unlink()
    told = copied.ok("status", "--json").json
    assert [c["ahead"] for c in told["copies"]] == [0, 1, 1]
    assert "1 snapshot ahead" in copied.ok("status").out
    shutil.rmtree(clean / "repo/meta")
    result = copied("status", "--json")
    assert result.code == 4
    assert states(result.json)[0][1] == "incomplete"
