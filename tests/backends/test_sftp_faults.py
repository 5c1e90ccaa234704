"""SFTP over a network that breaks, with servers that die, wrong keys and full disks."""

import random
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from snap.backends.base import (
    BackendUnavailable,
    StorageFull,
)
from snap.backends.retry import RetryingBackend, RetryPolicy
from snap.backends.sftp import SftpBackend
from tests.servers.proxy import DOWN, UP, Proxy, proxy_to
from tests.servers.services import free_port
from tests.servers.sshd import Sshd, running_sshd
from tests.tmpfs import small_disk

from .test_sftp import folder_of, opened

DATA = random.Random(3).randbytes(3_000_000)


@pytest.fixture
def proxy(sshd: Sshd) -> Iterator[Proxy]:
    with proxy_to(sshd.port) as proxy:
        yield proxy


@pytest.fixture
def config(sshd: Sshd, proxy: Proxy, tmp_path: Path) -> Path:
    """The way to the server through the proxy."""
    return sshd.configure(tmp_path / "ssh_config", port=proxy.port)


@pytest.fixture
def store(sshd: Sshd, config: Path) -> Iterator[SftpBackend]:
    backend = opened(sshd, config=config)
    yield backend
    backend.close()


def visible(store: SftpBackend) -> dict[str, bytes]:
    """Return all objects as the server's disk has them, without the temporary files."""
    root = folder_of(store)
    files = [p for p in root.rglob("*") if p.is_file() and p.parent != root / "tmp"]
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in files}


@pytest.mark.parametrize(
    ("after", "exclusive"),
    [(0, True), (300, False), (40_000, True), (len(DATA) - 10, False), (len(DATA) + 400, True)],
)
def test_a_connection_cut_during_a_put_leaves_nothing_half_visible(
    store: SftpBackend, proxy: Proxy, after: int, exclusive: bool
) -> None:
    store.put("d/old", b"old")
    name = "d/new" if exclusive else "d/old"
    before = visible(store)
    proxy.cut_after(UP, after)
    with pytest.raises(BackendUnavailable) as caught:
        store.put(name, DATA, exclusive=exclusive)
    assert caught.value.hint
    assert visible(store) in (before, before | {name: DATA})
    store.put("d/next", b"next")
    assert store.get("d/next") == b"next"
    assert visible(store) in (b | {"d/next": b"next"} for b in (before, before | {name: DATA}))


@pytest.mark.parametrize("after", [0, 100_000, len(DATA) - 1000])
def test_a_connection_cut_during_a_get_is_never_a_short_answer(
    store: SftpBackend, proxy: Proxy, after: int
) -> None:
    store.put("d/a", DATA)
    proxy.cut_after(DOWN, after)
    with pytest.raises(BackendUnavailable):
        store.get("d/a")
    assert store.get("d/a") == DATA


def test_a_connection_cut_during_a_listing_is_an_error_and_no_shorter_list(
    store: SftpBackend, proxy: Proxy
) -> None:
    store.put("0/a", b"x")
    root = folder_of(store)
    for folder in range(40):
        (root / f"{folder}").mkdir(exist_ok=True)
        for n in range(20):
            (root / f"{folder}/{n}").write_bytes(b"x")
    assert len(list(store.list(""))) == 801
    for after in (500, 40_000):
        proxy.cut_after(DOWN, after)
        with pytest.raises(BackendUnavailable):
            list(store.list(""))
    assert len(list(store.list(""))) == 801


def test_cuts_are_recovered_by_trying_again(store: SftpBackend, proxy: Proxy) -> None:
    retried = RetryingBackend(store, RetryPolicy(attempts=30), sleep=lambda _: None)
    retried.put("d/a", b"x")
    for n, after in enumerate((100, 2_900_000)):
        proxy.cut_after(UP, after)
        retried.put(f"d/{n}", DATA, exclusive=True)
        proxy.cut_after(DOWN, after)
        assert retried.get(f"d/{n}") == DATA
        proxy.cut_after(DOWN, 500)
        assert {s.name for s in retried.list("")} == {"d/a", *(f"d/{k}" for k in range(n + 1))}
        proxy.cut()
        retried.delete(f"d/{n}")
        retried.put(f"d/{n}", b"")
    assert proxy.accepted > 5


def test_every_thread_finds_its_way_back_after_a_cut(store: SftpBackend, proxy: Proxy) -> None:
    retried = RetryingBackend(store, RetryPolicy(attempts=30), sleep=lambda _: None)
    failures: list[BaseException] = []

    def work(n: int) -> None:
        try:
            for k in range(6):
                retried.put(f"{n}/{k}", DATA[: 300_000 + k])
                assert retried.get(f"{n}/{k}") == DATA[: 300_000 + k]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        before = proxy.passed[UP]
        ends = time.monotonic() + 60
        while proxy.passed[UP] < before + 900_000 and any(t.is_alive() for t in threads):
            assert time.monotonic() < ends
            time.sleep(0.01)
        proxy.cut()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(list(retried.list(""))) == 24


def test_the_death_of_the_server_is_survived(tmp_path: Path) -> None:
    with running_sshd() as server:
        store = opened(server)
        store.put("d/a", DATA)
        with proxy_to(server.port) as proxy:
            slow = opened(
                server,
                str(folder_of(store)),
                config=server.configure(tmp_path / "config", port=proxy.port),
            )
            assert slow.get("d/a", 0, 10) == DATA[:10]
            proxy.stall()
            outcome: list[BaseException] = []

            def put() -> None:
                try:
                    slow.put("d/b", DATA)
                except BaseException as error:
                    outcome.append(error)

            thread = threading.Thread(target=put)
            thread.start()
            # Its session has to die under it: one that is gone before is opened anew.
            ends = time.monotonic() + 60
            while not proxy.held:
                assert time.monotonic() < ends
                time.sleep(0.01)
            assert server.drop_sessions() >= 2
            proxy.resume()
            thread.join(60)
            assert isinstance(outcome[0], BackendUnavailable)
            slow.close()
        server.stop()
        with pytest.raises(BackendUnavailable):
            for _ in range(2):
                store.get("d/a")
        with pytest.raises(BackendUnavailable) as caught:
            store.get("d/a")
        assert "reachable" in caught.value.hint
        assert set(visible(store)) == {"d/a"}
        server.start()
        assert store.get("d/a") == DATA
        store.close()


@pytest.mark.parametrize("operation", ["get", "put"])
def test_a_server_that_stops_answering_is_given_up(
    sshd: Sshd, proxy: Proxy, config: Path, operation: str
) -> None:
    # Time enough to log in, on a busy machine as well.
    store = opened(sshd, timeout_seconds=6, config=config)
    store.put("d/a", b"x")
    proxy.stall()
    with pytest.raises(BackendUnavailable, match="did not answer for 6 seconds"):
        if operation == "get":
            store.get("d/a")
        else:
            store.put("d/b", DATA)
    assert set(visible(store)) == {"d/a"}
    proxy.resume()
    assert store.get("d/a") == b"x"
    store.close()


def test_a_server_that_never_says_hello_is_given_up(sshd: Sshd, proxy: Proxy, config: Path) -> None:
    store = opened(sshd, timeout_seconds=1, config=config)
    proxy.stall()
    with pytest.raises(BackendUnavailable, match="within 1 seconds"):
        store.get("a")
    store.close()


def test_a_slow_line_is_no_stalled_server(sshd: Sshd, proxy: Proxy, config: Path) -> None:
    store = opened(sshd, timeout_seconds=6, config=config)
    store.put("d/a", b"x")
    proxy.delay_seconds = 0.2
    begun = time.monotonic()
    store.put("d/b", DATA[:2_000_000])
    assert time.monotonic() - begun > 6
    proxy.delay_seconds = 0
    assert store.get("d/b") == DATA[:2_000_000]
    store.close()


def test_a_server_that_is_not_there_is_unavailable(sshd: Sshd, tmp_path: Path) -> None:
    config = sshd.configure(tmp_path / "config", port=free_port())
    store = opened(sshd, config=config)
    with pytest.raises(BackendUnavailable) as caught:
        store.get("a")
    assert "reachable" in caught.value.hint
    store.close()


def test_a_connection_that_is_refused_for_now_is_unavailable(
    store: SftpBackend, proxy: Proxy
) -> None:
    proxy.refuse()
    with pytest.raises(BackendUnavailable):
        store.put("a", b"x")
    proxy.refuse(refusing=False)
    store.put("a", b"x")
    assert visible(store) == {"a": b"x"}


def test_a_full_disk_is_told_and_leaves_nothing(sshd: Sshd) -> None:
    name = secrets.token_hex(4)
    with small_disk(sshd.root / name, 4 << 20) as disk:
        store = opened(sshd, f"{name}/store")
        store.put("d/a", b"small")
        for exclusive in (False, True):
            with pytest.raises(StorageFull) as caught:
                store.put("d/b", DATA * 2, exclusive=exclusive)
            assert caught.value.hint
        with pytest.raises(StorageFull):
            store.put("d/a", DATA * 2)
        assert visible(store) == {"d/a": b"small"}
        assert list((disk / "store/tmp").iterdir()) == []
        store.put("d/b", DATA)
        assert store.get("d/b") == DATA
        store.close()
    shutil.rmtree(sshd.root / name, ignore_errors=True)


def test_a_disk_that_fills_up_where_there_are_no_links_leaves_no_part() -> None:
    # Room for the temporary file, and not for the second copy that takes the place of a link.
    with (
        running_sshd("Subsystem sftp internal-sftp -P hardlink") as server,
        small_disk(server.root / "disk", 5 << 20),
    ):
        store = opened(server, "disk/store")
        store.put("d/a", b"small", exclusive=True)
        with pytest.raises(StorageFull):
            store.put("d/b", DATA, exclusive=True)
        assert visible(store) == {"d/a": b"small"}
        store.close()
