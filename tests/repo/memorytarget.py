"""A target of our own protocol that keeps what is restored in a dict."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from snap.repo.source import Attributes, NodeType
from snap.repo.target import Piece, TargetEntry


@dataclass
class _Staged:
    entry: TargetEntry
    content: bytearray = field(default_factory=bytearray)
    written: list[tuple[int, int]] = field(default_factory=list)
    complete: bool = False


class MemoryTarget:
    """Keeps entries and file contents; visible only after `finish`. Checks how it is called."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._staged: dict[bytes, _Staged] = {}
        self.entries: dict[bytes, TargetEntry] = {}
        self.files: dict[bytes, bytes] = {}
        self.holes: list[tuple[int, int]] = []
        self.pieces = 0
        self.aborted = False
        self.root: Attributes | None = None

    def make(self, entry: TargetEntry) -> None:
        assert entry.type is not NodeType.FILE or entry.link_to is not None
        if entry.link_to is not None:
            assert self._staged[b"/".join(entry.link_to)].complete
        self._add(entry).complete = True

    def check_file(self, entry: TargetEntry) -> None:
        assert b"/".join(entry.path) not in self._staged

    def write_file(self, entry: TargetEntry, data: bytes | memoryview) -> None:
        assert len(data) == entry.size_bytes
        staged = self._add(entry)
        staged.content += data
        staged.written.append((0, len(data)))
        staged.complete = True

    def write_pieces(self, entry: TargetEntry, pieces: Sequence[Piece]) -> None:
        with self._lock:
            staged = self._staged.get(b"/".join(entry.path)) or self._add(entry)
            assert not staged.complete
            for offset, data in pieces:
                end = offset + len(data)
                assert data
                assert end <= entry.size_bytes
                staged.content.extend(bytes(max(0, end - len(staged.content))))
                staged.content[offset:end] = data
                staged.written.append((offset, end))
                self.pieces += 1

    def complete_file(self, entry: TargetEntry) -> None:
        staged = self._staged.get(b"/".join(entry.path)) or self._add(entry)
        assert not staged.complete
        staged.content.extend(bytes(entry.size_bytes - len(staged.content)))
        staged.complete = True
        at = 0
        for begin, end in [*sorted(staged.written), (entry.size_bytes, entry.size_bytes)]:
            assert begin >= at, "nothing is written twice"
            if begin > at:
                self.holes.append((at, begin - at))
            at = end

    def drop_file(self, entry: TargetEntry) -> None:
        self._staged.pop(b"/".join(entry.path), None)

    def _add(self, entry: TargetEntry) -> _Staged:
        path = b"/".join(entry.path)
        with self._lock:
            assert path not in self._staged
            assert len(entry.path) == 1 or b"/".join(entry.path[:-1]) in self._staged
            staged = self._staged[path] = _Staged(entry)
        return staged

    def set_root(self, attributes: Attributes) -> None:
        self.root = attributes

    def finish(self) -> list[str]:
        for path, staged in sorted(self._staged.items()):
            assert staged.complete, path
            self.entries[path] = staged.entry
            if staged.entry.type is NodeType.FILE:
                link = staged.entry.link_to
                source = staged if link is None else self._staged[b"/".join(link)]
                self.files[path] = bytes(source.content)
        return []

    def abort(self) -> None:
        self.aborted = True
        self._staged.clear()
