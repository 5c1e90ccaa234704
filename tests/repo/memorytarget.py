"""A target of our own protocol that keeps what is restored in a dict."""

from collections.abc import Iterable

from snap.repo.source import Attributes
from snap.repo.target import Segment, TargetEntry


class MemoryTarget:
    """Keeps entries and file contents; visible only after `finish`."""

    def __init__(self) -> None:
        self._pending: dict[bytes, tuple[TargetEntry, bytes]] = {}
        self.entries: dict[bytes, TargetEntry] = {}
        self.files: dict[bytes, bytes] = {}
        self.holes: list[tuple[int, int]] = []
        self.aborted = False
        self.root: Attributes | None = None

    def write(self, entry: TargetEntry, segments: Iterable[Segment]) -> None:
        content = bytearray()
        for segment in segments:
            assert segment.offset == len(content)
            if segment.data is None:
                self.holes.append((segment.offset, segment.length))
                content += bytes(segment.length)
            else:
                assert len(segment.data) == segment.length
                content += segment.data
        self._pending[b"/".join(entry.path)] = (entry, bytes(content))

    def set_root(self, attributes: Attributes) -> None:
        self.root = attributes

    def finish(self) -> list[str]:
        for path, (entry, content) in self._pending.items():
            self.entries[path] = entry
            if entry.type == "file":
                first = b"/".join(entry.link_to) if entry.link_to is not None else None
                self.files[path] = content if first is None else self.files[first]
        return []

    def abort(self) -> None:
        self.aborted = True
        self._pending.clear()
