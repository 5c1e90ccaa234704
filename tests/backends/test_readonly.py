import pytest

from snap.backends.base import PermissionDenied
from snap.backends.memory import MemoryBackend
from snap.backends.readonly import ReadOnlyBackend


def test_reads_pass_and_writes_are_refused() -> None:
    inner = MemoryBackend()
    inner.put("a", b"x")
    store = ReadOnlyBackend(inner)
    assert store.get("a") == b"x"
    assert store.stat("a").size_bytes == 1
    assert [s.name for s in store.list("")] == ["a"]
    with pytest.raises(PermissionDenied):
        store.put("b", b"x")
    with pytest.raises(PermissionDenied):
        store.delete("a")
    assert [s.name for s in inner.list("")] == ["a"]
    store.close()
    assert store.location == "memory"
