"""Comparing the packs of a store with the index, for a repair."""

import threading
from collections.abc import Callable, Collection
from dataclasses import replace

from snap.backends.base import ObjectNotFound, ShortRead

from .catalog import Problem
from .codec import DecodeError
from .holdings import StoredPacks
from .ids import ObjectId, id_of_name, object_id, pack_name
from .lost import Damage
from .objects import StoredObject, each_object
from .pack import DATA_PACK, META_PACK, PackSummary, ReadRange, read_directory
from .progress import Reporter
from .repository import Repository

_HEAD_BYTES = 4 << 10
_TAIL_BYTES = 16 << 10
"""Header and directory of most packs are within these: two requests instead of four."""


class Examination:
    """Finds packs that are lost, damaged, or not what the index says.

    ``adopt`` is called, from one thread at a time, with each whole pack that no index object
    describes as it is. ``doomed`` packs are passed over.

    Attributes:
        bad: Packs that are not whole, and those of ``misplaced``, by name.
        misplaced: Names under which a pack lies that should have another name.
        drop: Packs of which what index objects say must go: they are lost, or something else.
        damage: What is known to be lost.
        indexed: Names of the packs adopted that no index object named.
        unread: How many of these were taken by their directory alone.
        gone: Packs that the index names and the store does not have.
        bytes_read: Bytes of packs read whole.
    """

    def __init__(
        self,
        repository: Repository,
        doomed: Collection[ObjectId],
        adopt: Callable[[PackSummary], None],
    ) -> None:
        self._repository = repository
        self._backend = repository.backend
        self._doomed = doomed
        self._adopt = adopt
        self._lock = threading.Lock()
        self.bad: dict[str, Problem] = {}
        self.misplaced: set[str] = set()
        self.drop: set[ObjectId] = set()
        self.damage = Damage()
        self.indexed: list[str] = []
        self.unread = 0
        self.gone: list[Problem] = []
        self.bytes_read = 0

    def run(self, reporter: Reporter, *, read_data: bool) -> None:
        """Compare all packs.

        Read whole are all metadata packs, data packs of another size than the index says, and
        with ``read_data`` all others. Of a data pack that no index object names the directory is
        read, which proves itself by its encryption; it says nothing of the blobs.
        """
        stored = StoredPacks(self._backend)
        whole = self._indexed_packs(stored, read_data=read_data)
        by_directory = []
        for name in stored.names():
            if id_of_name(name) in self._doomed:
                continue
            size = stored.size_bytes(kind_in(name), id_in(name))
            if name != pack_name(kind_in(name), id_in(name)):
                self.misplaced.add(name)
                size = None
            one = StoredObject(name, self._size_of(name) if size is None else size)
            if kind_in(name) == META_PACK or read_data or name in self.misplaced:
                whole.append(one)
            else:
                by_directory.append(one)
        reporter.start("reading packs", sum(one.size_bytes for one in whole))

        def read(one: StoredObject) -> None:
            self._read_whole(one)
            reporter.advance(one.size_bytes, item=one.name[-64:][:8])

        each_object(whole, read)
        reporter.finish()
        if by_directory:
            reporter.start("reading directories of packs", None)
            each_object((one._replace(size_bytes=_TAIL_BYTES) for one in by_directory), self._take)
            reporter.finish()
        self.indexed.sort()

    def _indexed_packs(self, stored: StoredPacks, *, read_data: bool) -> list[StoredObject]:
        """Return the packs of the index that have to be read, and note those that are gone."""
        whole = []
        contradicted = {pack for pack, _ in self._repository.cache.contradictions()}
        for pack in self._repository.cache.packs():
            size = stored.take(pack.kind, pack.id)
            if pack.id in self._doomed:
                continue
            name = pack_name(pack.kind, pack.id)
            if size is None:
                size = self._look_again(name, pack.id)
                if size is None:
                    continue
            if size != pack.size_bytes:
                self.damage.sizes[pack.id] = size
            is_doubtful = size != pack.size_bytes or pack.id in contradicted
            if pack.kind == META_PACK or read_data or is_doubtful:
                whole.append(StoredObject(name, size))
        return whole

    def _size_of(self, name: str) -> int:
        try:
            return self._backend.stat(name).size_bytes
        except ObjectNotFound:
            return 0

    def _look_again(self, name: str, id_: ObjectId) -> int | None:
        """Return the size of a pack that was not listed, and note one that is not there."""
        try:
            return self._backend.stat(name).size_bytes
        except ObjectNotFound:
            self.gone.append(Problem(name, "missing"))
            self.damage.sizes[id_] = None
            self.drop.add(id_)
            return None

    def _read_whole(self, one: StoredObject) -> None:
        """Compare a pack's bytes with its name, and its directory with the index."""
        problem, stored = "", b""
        truth = None
        try:
            stored = self._backend.get(one.name)
            if object_id(stored) != id_of_name(one.name):
                problem = "its bytes do not have the hash in its name"
            elif one.name in self.misplaced:
                problem = "lies under a wrong name"
            else:
                truth = self.truth(one.name, stored)
        except ObjectNotFound:
            # Deleted since it was listed.
            return
        except (DecodeError, ShortRead) as error:
            problem = str(error)
        with self._lock:
            self.bytes_read += len(stored)
            if truth is None:
                self.bad[one.name] = Problem(one.name, problem)
                return
            known = self.known(truth.id)
            if known is None:
                self.indexed.append(one.name)
            elif known != truth:
                self.drop.add(truth.id)
            if known != truth:
                self._adopt(truth)

    def _take(self, one: StoredObject) -> None:
        """Adopt a pack by its directory."""
        try:
            size = self._backend.stat(one.name).size_bytes
            truth = self._truth(one.name, size, self._ranges(one.name, size))
        except ObjectNotFound:
            return
        except (DecodeError, ShortRead) as error:
            with self._lock:
                self.bad[one.name] = Problem(one.name, str(error))
            return
        with self._lock:
            self.unread += 1
            self.indexed.append(one.name)
            self._adopt(truth)

    def _ranges(self, name: str, size: int) -> ReadRange:
        """Return what reads a pack, its beginning and its end at once."""
        head = self._backend.get(name, 0, min(size, _HEAD_BYTES))
        start = max(0, size - _TAIL_BYTES)
        tail = self._backend.get(name, start, size - start)

        def read(offset: int, length: int) -> bytes:
            if offset + length <= len(head):
                return head[offset : offset + length]
            if offset >= start:
                return tail[offset - start : offset - start + length]
            return self._backend.get(name, offset, length)

        return read

    def truth(self, name: str, stored: bytes) -> PackSummary:
        """Return what a whole pack's directory says.

        Raises:
            DecodeError: it is none, or one of the other kind, which is then noted as misplaced.
        """
        return self._truth(name, len(stored), lambda o, n: stored[o : o + n])

    def _truth(self, name: str, size: int, read: ReadRange) -> PackSummary:
        header, entries = read_directory(self._repository.keys, size, read)
        if header.kind != kind_in(name):
            self.misplaced.add(name)
            raise DecodeError("a pack of another kind")
        return PackSummary(id_in(name), header.kind, size, len(header.table), entries)

    def known(self, id_: ObjectId) -> PackSummary | None:
        """Return what the index says of a pack, None where no index object names it."""
        pack = self._repository.cache.pack(id_)
        if pack is None:
            return None
        entries = dict.fromkeys(self._repository.cache.entries_of(id_))
        return replace(pack, entries=tuple(entries))


def kind_in(name: str) -> int:
    """Return the kind of pack that a name says."""
    return DATA_PACK if name.startswith("data/") else META_PACK


def id_in(name: str) -> ObjectId:
    """Return the id of a pack that a name says."""
    return ObjectId(bytes.fromhex(name[-64:]))
