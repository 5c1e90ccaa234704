"""``snap prune`` and ``snap forget --prune``."""

import random
from pathlib import Path

import pytest

from snap.backends.local import LocalBackend
from snap.repo.lease import Lease, Owner
from snap.repo.repository import open_repository

from .conftest import PASSWORD, Snap, stored


@pytest.fixture
def grown(initialized: Snap, folder: Path) -> Snap:
    """Two snapshots, each with a megabyte of its own."""
    (folder / "noise").write_bytes(random.Random(1).randbytes(1 << 20))
    initialized.ok("backup", "folder", "-q")
    (folder / "noise").write_bytes(random.Random(2).randbytes(1 << 20))
    initialized.ok("backup", "folder", "-q")
    return initialized


def size(clean: Path) -> int:
    return sum(p.stat().st_size for kind in ("data", "meta") for p in stored(clean, kind))


def test_space_comes_back_in_two_steps_and_it_is_said_when(grown: Snap, clean: Path) -> None:
    grown.ok("forget", "--keep-last", "1", "-q")
    before = size(clean)
    out = grown.ok("prune").out
    assert "0 packs deleted, 0 B freed" in out
    assert " marked, 1." in out
    assert "not deleted yet: marked now; the first prune after 2" in out
    assert size(clean) >= before
    told = grown.ok("prune", "--json").summary
    (waiting,) = told["waiting"]
    assert waiting["bytes"] > 1 << 20
    assert waiting["reason"] == "marked not long ago"
    assert waiting["until"].startswith("2")
    told = grown.ok("prune", "--now", "--json").summary
    assert told["deleted"]["bytes"] > 1 << 20
    assert size(clean) < before - (1 << 20)
    grown.ok("check", "--read-data")


def test_forget_with_prune_does_both(grown: Snap) -> None:
    told = grown.ok("forget", "--keep-last", "1", "--prune", "--json").summary
    assert len(told["remove"]) == 1
    assert told["prune"]["marked"]["bytes"] > 1 << 20
    out = grown.ok("forget", "--keep-last", "1", "--prune").out
    assert "0 snapshots forgotten" in out
    assert "in use" in out


def test_a_dry_run_tells_and_changes_nothing(grown: Snap, clean: Path) -> None:
    grown.ok("forget", "--keep-last", "1", "-q")
    names = sorted(clean.glob("repo/**/*"))
    told = grown.ok("prune", "--dry-run", "--json").summary
    assert told["dry_run"] is True
    assert told["marked"]["bytes"] > 1 << 20
    assert "would be marked" in grown.ok("prune", "-n").out
    assert sorted(clean.glob("repo/**/*")) == names


def test_what_is_damaged_keeps_everything(grown: Snap, clean: Path) -> None:
    grown.ok("forget", "--keep-last", "1", "-q")
    for path in stored(clean, "snapshots"):
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1])
    result = grown("prune")
    assert result.code == 4
    assert "nothing is deleted" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    "arguments", [("--max-unused", "x"), ("--max-unused", "120%"), ("--max-repack", "much")]
)
def test_options_that_make_no_sense_are_refused(
    initialized: Snap, arguments: tuple[str, str]
) -> None:
    assert initialized("prune", *arguments).code == 2


def test_limits_are_read(grown: Snap) -> None:
    grown.ok("prune", "--max-unused", "0", "--max-repack", "1.5G", "-q")
    grown.ok("prune", "--max-unused", "50%", "--max-repack", "100", "-q")


def test_what_is_spared_for_a_backup_at_work_counts_and_is_told(grown: Snap, clean: Path) -> None:
    (clean / "other").write_bytes(random.Random(3).randbytes(1 << 20))
    grown.ok("backup", "other", "-q")
    grown.ok("forget", "latest", "--allow-last", "-q")
    grown.ok("forget", "--keep-last", "1", "-q")
    before = size(clean)
    with open_repository(LocalBackend(clean / "repo"), PASSWORD, cache_dir=None) as repository:
        owner = Owner("backup", "elsewhere", 7)
        with Lease(repository.backend, repository.keys, owner, repository.clock):
            told = grown.ok("prune", "--json").summary
            out = grown.ok("prune", "--dry-run").out
    assert told["marked"]["packs"] == 0
    (waiting,) = told["waiting"]
    assert waiting["bytes"] > 1 << 20
    assert waiting["reason"].endswith("of use to backup on elsewhere (process 7)")
    assert waiting["until"] is None
    assert told["unused_bytes"] > 1 << 20
    assert told["kept_bytes"] + waiting["bytes"] == before
    assert "; the first prune after that marks it" in out


def test_a_dry_run_counts_the_packs_it_would_move(grown: Snap, folder: Path) -> None:
    both = random.Random(3).randbytes(1 << 20)
    (folder / "one").write_bytes(both)
    grown.ok("backup", "folder", "-q", "--accept-changes")
    (folder / "one").write_bytes(both[: 1 << 17])
    grown.ok("backup", "folder", "-q", "--accept-changes")
    grown.ok("forget", "--keep-last", "1", "-q")
    foreseen = grown.ok("prune", "--dry-run", "--json").summary["moved"]
    assert foreseen["packs"] >= 1
    done = grown.ok("prune", "--json").summary["moved"]
    assert (done["packs"], done["bytes_read"]) == (foreseen["packs"], foreseen["bytes_read"])
