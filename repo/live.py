"""Which blobs are needed: one bit for each blob that the index knows.

A set of ids would take 100 bytes a blob; the bits take 1.2 MiB for ten million, and say at once
whether a tree was followed before.
"""

from collections.abc import Callable, Iterator, Sequence

from snap.errors import IntegrityError, SnapError

from .browse import Place
from .cache import Cache
from .codec import DecodeError
from .content import DAMAGE, extents_of
from .digests import STREAM_UNIT
from .extents import Content
from .ids import BlobId, Kind
from .repository import Repository
from .source import NodeType
from .tree import MAX_DEPTH, Node, check_order, decode_tree

_KEPT_IN_MIND = 1 << 15
"""Blobs that were marked last: 6 MiB."""


class BlobUnknown(IntegrityError):
    """A blob of content that is needed is in no index object. It leads to no others."""


class LiveSet:
    """A set of blobs, as bits over the numbers that the cache gives them."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._generation = cache.generation
        self._bits = bytearray()

    def has(self, number: int) -> bool:
        """Return whether the place of this number is in."""
        byte = number >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & 1 << (number & 7))

    def count(self, first: int, count: int) -> int:
        """Return how many of ``count`` numbers from ``first`` are in."""
        if count <= 0:
            return 0
        low, high = first >> 3, (first + count + 7) >> 3
        bits = int.from_bytes(self._bits[low:high], "little") >> (first & 7)
        return (bits & ((1 << count) - 1)).bit_count()

    def drop(self, number: int) -> None:
        """Take one place out."""
        byte = number >> 3
        if byte < len(self._bits):
            self._bits[byte] &= ~(1 << (number & 7))

    def mark(self, id_: BlobId) -> bool | None:
        """Take a blob in, with all its places; return whether it was not in before.

        None where no index object names it. When the cache is begun anew its numbers mean other
        blobs, so all is forgotten: what was seen is seen again, which costs time only.
        """
        numbers = self._cache.numbers_of(id_)
        if self._cache.generation != self._generation:
            self._generation = self._cache.generation
            self._bits = bytearray()
        return self.add(numbers) if numbers else None

    def add(self, numbers: Sequence[int]) -> bool:
        """Take in the places of these numbers; return whether one of them was not in before."""
        is_new = False
        for number in numbers:
            byte, bit = number >> 3, 1 << (number & 7)
            if byte >= len(self._bits):
                limit = max(self._cache.number_limit() >> 3, byte)
                self._bits.extend(bytes(limit + 1 - len(self._bits)))
            if not self._bits[byte] & bit:
                self._bits[byte] |= bit
                is_new = True
        return is_new

    def has_blob(self, id_: BlobId) -> bool:
        """Return whether a blob was taken in."""
        numbers = self._cache.numbers_of(id_)
        if self._cache.generation != self._generation:
            return False
        return any(
            number >> 3 < len(self._bits) and self._bits[number >> 3] & (1 << (number & 7))
            for number in numbers
        )


Report = Callable[[str, SnapError], None]
"""Is told of a place in a snapshot and what is wrong there."""


class LiveBlobs:
    """Follows trees to all the blobs that they need; no tree or list of extents twice.

    What is damaged or in no index is reported, with the first place that needs it, and the rest
    is followed all the same.

    Attributes:
        live: What was found so far.
    """

    def __init__(self, repository: Repository, report: Report) -> None:
        self._repository = repository
        self._report = report
        self._lately: set[tuple[BlobId, int]] = set()
        self._generation = repository.cache.generation
        self.live = LiveSet(repository.cache)

    def follow(self, where: str, subtree: Sequence[BlobId]) -> None:
        """Follow a directory and all that is below it; ``where`` is its name in reports."""
        stack: list[tuple[Place, Iterator[Node]]] = [((), self._new_nodes(where, subtree))]
        while stack:
            path, nodes = stack[-1]
            node = next(nodes, None)
            if node is None:
                stack.pop()
                continue
            place = (*path, node.name)
            shown = f"{where}/{b'/'.join(place).decode('utf-8', 'backslashreplace')}"
            if node.content is not None:
                self._follow_content(shown, node.content)
            if node.type is NodeType.DIR:
                if len(stack) >= MAX_DEPTH:
                    deep = IntegrityError(f"a tree is nested deeper than {MAX_DEPTH}")
                    self._report(shown, deep)
                    continue
                stack.append((place, self._new_nodes(shown, node.subtree)))

    def _new_nodes(self, where: str, subtree: Sequence[BlobId]) -> Iterator[Node]:
        """Yield the nodes of the tree blobs that were not followed before.

        Their neighbours are read as well: names ascend over all tree blobs of a directory.
        """
        is_new = [self.live.mark(id_) is not False for id_ in subtree]
        last = b""
        for number, id_ in enumerate(subtree):
            if not any(is_new[max(0, number - 1) : number + 2]):
                last = b""
                continue
            try:
                nodes = decode_tree(self._repository.load_blob(id_, Kind.TREE))
                last = check_order(nodes, after=last)
            except DecodeError as error:
                self._report(where, IntegrityError(f"tree blob {id_.hex()}: {error}"))
                last = b""
            except DAMAGE as error:
                self._report(where, error)
                last = b""
            else:
                if is_new[number]:
                    yield from nodes

    def _follow_content(self, where: str, content: Content) -> None:
        for part in content.parts:
            if part.extents is not None:
                self._follow_extents(where, part)
            for list_ in part.lists:
                if self.live.mark(list_[0]) is not False:
                    self._follow_extents(where, part._replace(lists=(list_,)))

    def _follow_blob(self, where: str, blob: BlobId, content: Content) -> None:
        unit = content.paging.page_bytes if content.paging is not None else STREAM_UNIT
        if self._was_lately(blob, unit):
            return
        is_new = self.live.mark(blob)
        if is_new is None:
            self._report(where, BlobUnknown(f"needs blob {blob.hex()}: in no index"))
            self._lately.discard((blob, unit))
        elif is_new:
            # Its companion belongs to it; not every blob has one, and none is missed.
            self.live.mark(self._repository.keys.digests_id(blob, unit))

    def _was_lately(self, blob: BlobId, unit: int) -> bool:
        """Return whether a blob was marked a moment ago, and keep it in mind.

        A file that changes has thousands of extents in a few blobs: to look each up costs 25 us.
        """
        if len(self._lately) >= _KEPT_IN_MIND or (
            self._generation != self._repository.cache.generation
        ):
            self._generation = self._repository.cache.generation
            self._lately.clear()
        if (blob, unit) in self._lately:
            return True
        self._lately.add((blob, unit))
        return False

    def _follow_extents(self, where: str, content: Content) -> None:
        try:
            for extent in extents_of(self._repository, content, where):
                if extent.blob is not None:
                    self._follow_blob(where, extent.blob, content)
        except DAMAGE as error:
            self._report(where, error)
