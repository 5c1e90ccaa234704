from snap.repo.catalog import list_snapshots
from snap.repo.find import find
from snap.repo.repository import Repository

from .conftest import back_up
from .dictsource import DictSource


def test_entries_are_found_by_name_or_by_whole_path(repository: Repository) -> None:
    back_up(repository, DictSource({b"logs/a.log": b"1", b"b.txt": b"2"}))
    back_up(repository, DictSource({b"logs/a.log": b"1", b"logs/old/c.log": b"3"}))

    def found(pattern: str) -> list[bytes]:
        return [
            b"/".join(p) for _, _, p, _ in find(repository, list_snapshots(repository), pattern)
        ]

    assert found("*.log") == [b"logs/a.log", b"logs/a.log", b"logs/old/c.log"]
    assert found("data/logs/*") == [b"logs/a.log", b"logs/a.log", b"logs/old", b"logs/old/c.log"]
    assert found("b.t?t") == [b"b.txt"]
    assert found("[bx].txt") == [b"b.txt"]
    assert found("nothing") == []
