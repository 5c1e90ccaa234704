from collections.abc import Mapping

from snap.repo.diff import Change, diff_snapshots
from snap.repo.repository import Repository
from snap.repo.source import Attributes, Entry, NodeType

from .conftest import back_up
from .dictsource import BytesReader, DictSource, Item


def link(path: bytes, target: bytes) -> Entry:
    return Entry((path,), NodeType.SYMLINK, Attributes(mode=0o777), target=target)


def file_with(path: bytes, mode: int, mtime_ns: int = 0, ctime_ns: int = 0) -> Entry:
    attributes = Attributes(mode=mode, mtime_ns=mtime_ns, ctime_ns=ctime_ns, inode=1)
    return Entry((path,), NodeType.FILE, attributes, open=lambda: BytesReader(b"same"))


def changes(
    repository: Repository, old: Mapping[bytes, Item], new: Mapping[bytes, Item]
) -> list[tuple[str, bytes]]:
    a = back_up(repository, DictSource(old))
    b = back_up(repository, DictSource(new))
    return [(str(c.change), b"/".join(c.path)) for c in diff_snapshots(repository, a, b)]


def test_each_kind_of_change_is_told(repository: Repository) -> None:
    old: dict[bytes, Item] = {
        b"gone/x": b"1",
        b"grown": b"1",
        b"kept/f": b"1",
        b"link": link(b"link", b"a"),
        b"mode": file_with(b"mode", 0o600),
        b"type": b"1",
    }
    new: dict[bytes, Item] = {
        b"added/y/z": b"1",
        b"grown": b"12",
        b"kept/f": b"1",
        b"link": link(b"link", b"b"),
        b"mode": file_with(b"mode", 0o644),
        b"type/below": b"1",
    }
    assert changes(repository, old, new) == [
        ("added", b"added"),
        ("added", b"added/y"),
        ("added", b"added/y/z"),
        ("removed", b"gone"),
        ("removed", b"gone/x"),
        ("modified", b"grown"),
        ("modified", b"link"),
        ("metadata", b"mode"),
        ("type", b"type"),
        ("added", b"type/below"),
    ]


def test_equal_snapshots_and_mere_change_times_are_no_change(repository: Repository) -> None:
    assert changes(repository, {b"d/a": b"1"}, {b"d/a": b"1"}) == []
    old = {b"f": file_with(b"f", 0o600, ctime_ns=1)}
    assert changes(repository, old, {b"f": file_with(b"f", 0o600, ctime_ns=2)}) == []
    assert changes(repository, old, {b"f": file_with(b"f", 0o600, mtime_ns=9)}) != []


def test_sizes_and_components_are_told(repository: Repository) -> None:
    a = back_up(repository, DictSource({b"f": b"1"}), DictSource({b"g": b"1"}, name="left"))
    b = back_up(repository, DictSource({b"f": b"123"}), DictSource({b"h": b"1"}, name="new"))
    found: list[Change] = list(diff_snapshots(repository, a, b))
    assert [(c.component, str(c.change), c.old_size, c.new_size) for c in found] == [
        ("data", "modified", 1, 3),
        ("left", "removed", 1, None),
        ("new", "added", None, 1),
    ]
