"""What a put has done when it returns, and what others may see meanwhile."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snap.backends.base import BackendError, BackendUnavailable, ObjectExists, StorageFull
from snap.backends.local import LocalBackend

Calls = list[tuple[str, str]]
DATA = b"x" * 1000


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    """Every call that makes something durable or visible, in order; all are carried out."""
    found: Calls = []

    def short(path: Any) -> str:
        text = os.path.relpath(path, tmp_path)
        folder, _, last = text.rpartition("/")
        return f"{folder}/*" if folder.endswith("tmp") and len(last) == 32 else text

    def watch(name: str, told: Callable[..., str]) -> None:
        real = getattr(os, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            found.append((name, told(*arguments)))
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, watched)

    watch("fsync", lambda descriptor: short(os.readlink(f"/proc/self/fd/{descriptor}")))
    watch("rename", lambda old, new: f"{short(old)} -> {short(new)}")
    watch("link", lambda old, new: f"{short(old)} -> {short(new)}")
    watch("mkdir", lambda path, mode: short(path))
    watch("unlink", short)
    return found


def test_the_file_is_synced_before_it_is_renamed_and_its_folder_after(
    tmp_path: Path, calls: Calls
) -> None:
    store = LocalBackend(tmp_path / "r")
    store.put("a", DATA)
    calls.clear()
    store.put("a", DATA)
    assert calls == [
        ("fsync", "r/tmp/*"),
        ("rename", "r/tmp/* -> r/a"),
        ("unlink", "r/tmp/*"),
        ("fsync", "r"),
    ]


def test_an_exclusive_put_links_instead_of_renaming(tmp_path: Path, calls: Calls) -> None:
    store = LocalBackend(tmp_path / "r")
    store.put("a", DATA)
    calls.clear()
    store.put("b", DATA, exclusive=True)
    assert calls == [
        ("fsync", "r/tmp/*"),
        ("link", "r/tmp/* -> r/b"),
        ("unlink", "r/tmp/*"),
        ("fsync", "r"),
    ]
    assert (tmp_path / "r" / "b").stat().st_nlink == 1


def test_every_new_folder_is_synced_in_its_parent_before_the_object_is_visible(
    tmp_path: Path, calls: Calls
) -> None:
    LocalBackend(tmp_path / "new" / "r").put("d/e/a", DATA)
    renamed = calls.index(("rename", "new/r/tmp/* -> new/r/d/e/a"))
    for parent, folder in ((".", "new"), ("new", "r"), ("new/r", "d"), ("new/r/d", "e")):
        made = calls.index(("mkdir", f"{parent}/{folder}".removeprefix("./")))
        assert ("fsync", parent) in calls[made:renamed]


def test_a_folder_that_somebody_else_made_is_synced_as_well(tmp_path: Path, calls: Calls) -> None:
    (tmp_path / "r" / "d").mkdir(parents=True)
    calls.clear()
    LocalBackend(tmp_path / "r").put("d/a", DATA)
    renamed = calls.index(("rename", "r/tmp/* -> r/d/a"))
    assert ("fsync", "r") in calls[:renamed]


def test_a_delete_is_synced(tmp_path: Path, calls: Calls) -> None:
    store = LocalBackend(tmp_path / "r")
    store.put("d/a", DATA)
    calls.clear()
    store.delete("d/a")
    assert calls == [("unlink", "r/d/a"), ("fsync", "r/d")]


def failing(code: int) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_disk_that_cannot_sync_fails_the_put_and_keeps_the_old_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalBackend(tmp_path / "r")
    store.put("a", b"old")
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(BackendUnavailable):
        store.put("a", b"new")
    assert store.get("a") == b"old"
    assert list((tmp_path / "r" / "tmp").iterdir()) == []


def only_folders(code: int) -> Callable[[int], None]:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    return fsync


def test_a_file_system_that_cannot_sync_folders_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", only_folders(errno.EINVAL))
    store = LocalBackend(tmp_path / "r")
    store.put("a", DATA)
    assert store.get("a") == DATA
    monkeypatch.undo()
    monkeypatch.setattr(os, "fsync", only_folders(errno.EIO))
    with pytest.raises(BackendUnavailable):
        store.put("b", DATA)


def test_without_links_an_exclusive_put_still_does_not_replace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    store = LocalBackend(tmp_path / "r")
    store.put("a", b"first", exclusive=True)
    with pytest.raises(ObjectExists):
        store.put("a", b"second", exclusive=True)
    assert store.get("a") == b"first"
    assert list((tmp_path / "r" / "tmp").iterdir()) == []


def test_without_links_a_full_disk_leaves_no_part_of_an_exclusive_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalBackend(tmp_path / "r")
    store.put("other", DATA)
    monkeypatch.setattr(os, "link", failing(errno.EOPNOTSUPP))
    real, written = os.write, []

    def write(descriptor: int, data: memoryview) -> int:
        written.append(len(data))
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # The second is the first half of the object under its own name.
        return real(descriptor, data[: len(data) // len(written)])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StorageFull):
        store.put("a", DATA, exclusive=True)
    assert written == [1000, 1000, 500]
    assert [stat.name for stat in store.list("")] == ["other"]


def test_a_link_that_fails_for_another_reason_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EIO))
    store = LocalBackend(tmp_path / "r")
    with pytest.raises(BackendUnavailable):
        store.put("a", DATA, exclusive=True)
    assert list(store.list("")) == []


def test_a_repository_whose_disk_was_unmounted_is_not_made_anew(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    store = LocalBackend(tmp_path / "r")
    store.put("d/a", DATA)
    (tmp_path / "r").rename(tmp_path / "away")
    with pytest.raises(BackendError, match="d/b cannot be stored") as caught:
        store.put("d/b", DATA)
    assert "mounted" in caught.value.hint
    assert not (tmp_path / "r").exists()
    (tmp_path / "away").rename(tmp_path / "r")
    store.put("d/b", DATA)
    assert sorted(stat.name for stat in store.list("")) == ["d/a", "d/b"]


RACER = """
import sys
from pathlib import Path
from snap.backends.base import ObjectExists
from snap.backends.local import LocalBackend
store = LocalBackend(Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    try:
        store.put("race/" + line.strip(), sys.argv[2].encode() * 100_000, exclusive=True)
    except ObjectExists:
        print("lost", flush=True)
    else:
        print("won", flush=True)
"""


def start(script: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def say(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def hear(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_racing_processes_exactly_one_puts_exclusively(tmp_path: Path) -> None:
    letters = "abc"
    racers = [start(RACER, str(tmp_path / "r"), letter) for letter in letters]
    store = LocalBackend(tmp_path / "r")
    try:
        assert [hear(racer) for racer in racers] == ["ready"] * 3
        for round_ in range(20):
            for racer in racers:
                say(racer, str(round_))
            outcomes = [hear(racer) for racer in racers]
            assert sorted(outcomes) == ["lost", "lost", "won"]
            winner = letters[outcomes.index("won")]
            assert store.get(f"race/{round_}") == winner.encode() * 100_000
    finally:
        for racer in racers:
            racer.communicate(timeout=60)
    assert [racer.returncode for racer in racers] == [0, 0, 0]


REPLACER = """
import sys
from pathlib import Path
from snap.backends.local import LocalBackend
store = LocalBackend(Path(sys.argv[1]))
for n in range(200):
    store.put("a", bytes([n]) * (50_000 + 1000 * n))
"""


def test_a_reader_beside_a_writing_process_sees_whole_objects_only(tmp_path: Path) -> None:
    store = LocalBackend(tmp_path)
    store.put("a", bytes(50_000))
    writer = start(REPLACER, str(tmp_path))
    seen = set()
    while writer.poll() is None:
        data = store.get("a")
        assert data == data[:1] * len(data)
        assert len(data) == 50_000 + 1000 * data[0]
        assert [stat.name for stat in store.list("")] == ["a"]
        seen.add(data[0])
    writer.communicate(timeout=60)
    assert writer.returncode == 0
    assert len(seen) > 1
    assert store.get("a")[0] == 199
