"""Four hosts that back up into one bucket at once, while a fifth copies it to an SSH server."""

import json
import random
import time
from pathlib import Path

import pytest

from tests.scale import rounds
from tests.servers.s3 import Bucket
from tests.servers.sshd import Sshd

from .command import Snap, picture
from .test_s3 import RemoteSnap

MIB = 1 << 20
HOSTS = 4
ROUNDS = 3
SHARED_MIB = rounds(60, otherwise=12)
OWN_MIB = SHARED_MIB // 6


def host_of(url: str, folder: Path, name: str) -> RemoteSnap:
    return RemoteSnap(folder, folder / f"cache-{name}", url=url)


def fill(folder: Path, number: int) -> Path:
    folder.mkdir()
    (folder / "shared").write_bytes(random.Random(0).randbytes(SHARED_MIB * MIB))
    (folder / "own").write_bytes(random.Random(number + 1).randbytes(OWN_MIB * MIB))
    return folder


def change(folder: Path, number: int, round_: int) -> None:
    chance = random.Random(f"{number} {round_}")
    with (folder / "own").open("r+b") as file:
        file.seek(chance.randrange(OWN_MIB * MIB - 1000))
        file.write(chance.randbytes(1000))
    (folder / f"round-{round_}").write_bytes(chance.randbytes(100_000))


@pytest.mark.slow
def test_four_hosts_at_once_and_a_fifth_that_copies_lose_nothing_and_store_once(
    bucket: Bucket, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(sshd.home))
    first = host_of(bucket.url, tmp_path, "first")
    first.init()
    copy = host_of(sshd.url(f"many-{time.monotonic_ns()}"), tmp_path, "copy")
    copy.ok("init", "--copy-of", bucket.url)
    # What the hosts share is there before they begin at once: of two that store one thing at the
    # same moment, both may store it.
    data = {n: fill(tmp_path / f"data{n}", n) for n in range(HOSTS)}
    (tmp_path / "base").mkdir()
    (tmp_path / "base/shared").write_bytes((data[0] / "shared").read_bytes())
    first.ok("backup", str(tmp_path / "base"))
    hosts = {n: host_of(bucket.url, tmp_path, f"h{n}") for n in range(HOSTS)}
    fifth = host_of(bucket.url, tmp_path, "fifth")
    taken: dict[str, tuple[str, object]] = {}
    for round_ in range(ROUNDS):
        for n, folder in data.items():
            change(folder, n, round_)
        running = {n: host.start("backup", str(data[n]), "--json") for n, host in hosts.items()}
        replicated = 0
        while not replicated or any(p.poll() is None for p in running.values()):
            fifth.ok("replicate", copy.url)
            replicated += 1
        for n, process in running.items():
            out, err = process.communicate()
            assert process.returncode == 0, err
            taken[snapshot_id(out)] = (data[n].name, picture(data[n]))
        # What the copy shows at any moment is whole.
        copy.ok("check")
    fifth.ok("replicate", copy.url)
    assert set(copy.ids()) == set(first.ids()) >= set(taken)
    for place in (copy, host_of(bucket.url, tmp_path, "fresh")):
        place.ok("check", "--read-data")
    restore_all(copy, taken, tmp_path)
    distinct = (SHARED_MIB + HOSTS * OWN_MIB + 1) * MIB + HOSTS * ROUNDS * 200_000
    stored = sum(
        page["Size"]
        for page in bucket.server.client().list_objects_v2(Bucket=bucket.name)["Contents"]
    )
    assert stored < 1.1 * distinct


def snapshot_id(out: bytes) -> str:
    return str(json.loads(out.strip().splitlines()[-1])["snapshot_id"])


def restore_all(place: Snap, taken: dict[str, tuple[str, object]], tmp_path: Path) -> None:
    for id_, (name, wanted) in taken.items():
        target = tmp_path / f"out-{id_[:8]}"
        place.ok("restore", id_, "--target", str(target))
        assert picture(target / name) == wanted
