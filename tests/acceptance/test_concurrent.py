"""Several at once in one repository."""

import json
import random
from pathlib import Path

import pytest

from .command import Snap, picture


@pytest.mark.parametrize("caches", [1, 3])
def test_three_backups_at_once_all_succeed_and_share_what_is_equal(
    snap: Snap, tmp_path: Path, caches: int
) -> None:
    shared = random.Random(1).randbytes(20 << 20)
    (tmp_path / "base").mkdir()
    (tmp_path / "base/shared").write_bytes(shared)
    snap.ok("backup", str(tmp_path / "base"))
    hosts, processes = [], []
    for n in range(3):
        data = tmp_path / f"data{n}"
        data.mkdir()
        (data / "shared").write_bytes(shared)
        (data / "own").write_bytes(random.Random(10 + n).randbytes(5 << 20))
        host = Snap(snap.repository, tmp_path / f"cache{n % caches}")
        hosts.append(host)
        processes.append(host.start("backup", str(data)))
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    for n, host in enumerate(hosts):
        (id_,) = [
            s["id"]
            for s in json.loads(host.ok("snapshots", "--json"))
            if s["components"][0]["name"] == f"data{n}"
        ]
        host.ok("restore", id_, "--target", str(tmp_path / f"out{n}"))
        assert picture(tmp_path / f"out{n}" / f"data{n}") == picture(tmp_path / f"data{n}")
    fresh = Snap(snap.repository, tmp_path / "fresh")
    fresh.ok("check", "--read-data")
    stored = sum(p.stat().st_size for p in (snap.repository / "data").rglob("?" * 64))
    assert stored < (20 + 3 * 5 + 1) << 20


def test_a_lease_is_there_while_a_backup_runs_and_gone_after(snap: Snap, tmp_path: Path) -> None:
    leases = snap.repository / "leases"
    process = snap.start("backup", "--name", "x", "--command", "echo begun; sleep 3")
    seen = False
    while process.poll() is None:
        seen = seen or (leases.is_dir() and any(leases.iterdir()))
    process.communicate()
    assert process.returncode == 0
    assert seen
    assert list(leases.iterdir()) == []
