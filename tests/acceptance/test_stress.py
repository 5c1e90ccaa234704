"""Everything at once, with kills and pauses, in a repository and a copy that prune meanwhile."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from snap.backends.location import open_backend
from tests.scale import rounds

from .command import Snap
from .stress import Host, Record, StressSnap, first_id, state_of
from .stress_program import DEAD_SECONDS

HOSTS = rounds(6, otherwise=4)
SECONDS = rounds(15 * 60, otherwise=6)
PLACES = ("local", "s3", "sftp")[: rounds(3, otherwise=2)]
_AT_ONCE = 3
_MOST_FAILURES = 5
_CALM_EVERY, _CALM_SECONDS = 60.0, 12.0
_RIPE_SECONDS = DEAD_SECONDS + 2
_MOST_PRUNES = 5


@dataclass
class Place:
    """Where the repository and its copy are."""

    urls: dict[str, str]
    modules: tuple[str, ...] = ()


@pytest.fixture(params=PLACES)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    if request.param == "local":
        yield Place({name: str(tmp_path / name) for name in ("repository", "copy")})
    elif request.param == "sftp":
        sshd = request.getfixturevalue("sshd")
        monkeypatch.setenv("HOME", str(sshd.home))
        name = f"stress-{time.monotonic_ns()}"
        urls = {one: sshd.url(f"{name}-{one}") for one in ("repository", "copy")}
        yield Place(urls, ("asyncssh", "snap.backends.sftp"))
    else:
        url = request.getfixturevalue("bucket").url
        urls = {one: url.replace("some/prefix", one) for one in ("repository", "copy")}
        yield Place(urls, ("botocore.session", "snap.backends.s3"))


def at_work(host: Host, until: float) -> None:
    """Work until the time is over, with a calm now and then in which only two do."""
    record = host.record
    begun = time.monotonic()
    try:
        while time.monotonic() < until and len(record.failures) < _MOST_FAILURES:
            is_calm = (time.monotonic() - begun) % _CALM_EVERY > _CALM_EVERY - _CALM_SECONDS
            if is_calm and host.number > 1:
                time.sleep(0.5)
            else:
                host.one_thing()
    except Exception as error:
        record.fail(f"the test itself, on host {host.number}: {error!r}")
        raise


def sizes(url: str, prefix: str) -> dict[str, int]:
    backend = open_backend(url)
    try:
        return {stat.name: stat.size_bytes for stat in backend.list(prefix)}
    finally:
        backend.close()


def packs_of(url: str) -> int:
    return sum(size for prefix in ("data/", "meta/") for size in sizes(url, prefix).values())


def back_up_all(hosts: list[Host]) -> None:
    def back_up(host: Host) -> None:
        host.source.change()
        host.record.known[host.source.state] = host.source.content()
        host.surely("repository", "backup", *host.source.arguments())

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(back_up, hosts))


def settle(host: Host) -> None:
    """Prune until nothing is left to do.

    Twice is not always enough: a pack that the first one filled with what was moved may be the one
    small pack more with which the second finds them worth merging.
    """
    for _ in range(_MOST_PRUNES):
        is_settled = True
        for name, snap in host.places.items():
            snap.more |= {"STRESS_TOMBSTONE": "0", "STRESS_YOUNG": "0"}
            done = host.surely(name, "prune", "prune", "--json", "--max-unused", "0").summary()
            host.record.count(f"{name}: packs deleted at the end", done["deleted"]["packs"])
            host.record.count(f"{name}: packs marked at the end", done["marked"]["packs"])
            is_settled &= not done["marked"]["packs"] and not done["waiting"]
        if is_settled:
            return
        time.sleep(_RIPE_SECONDS)
    raise AssertionError(f"{_MOST_PRUNES} prunes in a row found something to mark")


def everything_is_whole(hosts: list[Host], name: str, url: str, root: Path) -> None:
    """Check with the command as it is and an empty cache, restore all on all hosts."""
    first, record = hosts[0], hosts[0].record

    class Plain(StressSnap):
        start = Snap.start

    found = Plain(root, root / f"cache-fresh-{name}", url=url).json("check", "--read-data")
    assert found["ok"], found
    listed = first.listed(name, anew=True)
    assert found["snapshots"] >= len(listed)

    def wrong_ones(host: Host) -> list[str]:
        return [
            first_id(one)
            for one in listed[host.number :: len(hosts)]
            if host.restored(name, one) != record.known[state_of(one)]
        ]

    with ThreadPoolExecutor(len(hosts)) as pool:
        wrong = [one for some in pool.map(wrong_ones, hosts) for one in some]
    assert not wrong
    record.say(f"{name}: {len(listed)} snapshots are whole and equal; hints {found['hints']}")


def nothing_is_left(host: Host, name: str, url: str) -> None:
    """No pack that nothing needs, no mark that is not swept, no lease."""
    foreseen = host.run(name, "prune", "prune", "--json", "--dry-run", mercy=True).summary()
    used = packs_of(url)
    host.record.say(f"{name}: {used} bytes of packs; {foreseen}")
    assert foreseen["marked"]["packs"] == foreseen["deleted"]["packs"] == 0, foreseen
    assert foreseen["waiting"] == []
    assert used == foreseen["kept_bytes"]
    assert foreseen["unused_bytes"] <= used * 0.02
    doomed = sizes(url, "doomed/")
    host.record.say(f"{name}: {len(doomed)} doomed objects are left, of what was forgotten")
    assert list(sizes(url, "leases/")) == []


@pytest.mark.slow
def test_hosts_that_do_everything_at_once_and_are_killed_lose_nothing(
    place: Place, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    record = Record()
    record.say(f"seed {seed}, {SECONDS} seconds, {place.urls}")
    any_host = StressSnap(tmp_path, tmp_path / "cache", modules=place.modules)
    hosts = [Host(n, place.urls, any_host, record, seed) for n in range(HOSTS)]
    first = hosts[0]
    first.places["repository"].init()
    first.places["copy"].ok("init", "--copy-of", place.urls["repository"])
    try:
        all_at_work(hosts)
        assert not record.failures, (seed, record.failures)
        nothing_is_lost(hosts, place.urls, tmp_path)
    finally:
        for host in hosts:
            host.close()


def all_at_work(hosts: list[Host]) -> None:
    record = hosts[0].record
    until = time.monotonic() + SECONDS
    threads = [threading.Thread(target=at_work, args=(host, until)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for what, number in sorted(record.counts.items()):
        record.say(f"COUNT {what}: {number:,}")


def nothing_is_lost(hosts: list[Host], urls: dict[str, str], root: Path) -> None:
    first, record = hosts[0], hosts[0].record
    back_up_all(hosts)
    # What the killed left is taken up by a backup once they are dead.
    time.sleep(_RIPE_SECONDS)
    back_up_all(hosts[:1])
    first.surely("repository", "replicate", "replicate", urls["copy"])
    left = {state_of(one) for one in first.listed("repository", anew=True)}
    assert record.committed - record.given_up <= left
    assert left <= {state_of(one) for one in first.listed("copy", anew=True)}
    # The last but one of a service, however little was forgotten before.
    first.surely("repository", "forget", "forget", "--keep-last", "1", "--service", "service-0")
    settle(first)
    for name, url in urls.items():
        everything_is_whole(hosts, name, url, root)
        nothing_is_left(first, name, url)
    swept = {k: n for k, n in record.counts.items() if "deleted at the end" in k}
    record.say(f"at the end {swept}")
    assert record.counts["repository: packs deleted"] + sum(swept.values()) > 0
