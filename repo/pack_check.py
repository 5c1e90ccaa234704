"""Reading packs whole and comparing them with their name, their directory and the index."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from snap.backends.base import ObjectNotFound, ShortRead
from snap.errors import IntegrityError

from .catalog import Problem, ProblemKind, kind_of
from .codec import DecodeError
from .ids import ObjectId, object_id, pack_name
from .lost import Damage
from .pack import (
    DATA_PACK,
    PackEntry,
    PackHeader,
    PackSummary,
    open_blob,
    open_pack_key,
    read_directory,
)
from .repository import Repository
from .salvage import take_blob


@dataclass(slots=True)
class Findings:
    """What a check found so far; the same problem is kept once."""

    errors: list[Problem] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    damage: Damage = field(default_factory=Damage)
    _known: set[Problem] = field(default_factory=set)

    def add(self, name: str, problem: Exception | str, kind: ProblemKind | None = None) -> None:
        """Keep a problem of one object, or of one place in a snapshot."""
        text = str(problem).removeprefix(f"{name}: ").removeprefix("damaged: ")
        told = kind_of(problem) if isinstance(problem, Exception) else ProblemKind.DAMAGED
        found = Problem(name, text, kind or told)
        if found not in self._known:
            self._known.add(found)
            self.errors.append(found)

    def blame(self, where: str, error: Exception) -> None:
        """Keep a problem under the object that the error names, else under who needs it."""
        head, _, rest = str(error).partition(": ")
        if head.startswith(("meta/", "data/")):
            self.add(head, rest, kind_of(error))
        else:
            self.add(where, error, ProblemKind.INCOMPLETE)


class PackCheck:
    """Checks packs one after the other; one pack is in memory at a time.

    Attributes:
        vanished: Packs that were gone when they were to be read: a prune may have taken them.
    """

    def __init__(self, repository: Repository, findings: Findings) -> None:
        self._repository = repository
        self._findings = findings
        self.bytes_read = 0
        self.vanished: list[PackSummary] = []

    def check(self, pack: PackSummary) -> bool | None:
        """Read a pack whole: hash, directory, index entries, and every blob that can be opened.

        Return whether all of that is right; None where it is not there any more, which a prune may
        have done (`vanished`).
        """
        name = pack_name(pack.kind, pack.id)
        try:
            stored = self._repository.backend.get(name)
        except ObjectNotFound:
            self.vanished.append(pack)
            return None
        except ShortRead as error:
            self._findings.add(name, error)
            return False
        self.bytes_read += len(stored)
        is_whole = object_id(stored) == pack.id
        if not is_whole:
            self._findings.add(name, "its bytes do not have the hash in its name")
        return self._check_content(pack, name, stored) and is_whole

    def check_unindexed(self, name: str) -> None:
        """Read a pack that no index names: its hash, and that its directory opens."""
        try:
            stored = self._repository.get_object(name)
            read_directory(self._repository.keys, len(stored), lambda o, n: stored[o : o + n])
        except (IntegrityError, DecodeError, ShortRead) as error:
            self._findings.add(name, error)
        except ObjectNotFound:
            # Deleted since it was listed; no index names it.
            return
        else:
            self.bytes_read += len(stored)

    def _check_content(self, pack: PackSummary, name: str, stored: bytes) -> bool:
        view = memoryview(stored)
        keys = self._repository.keys
        try:
            header, entries = read_directory(
                keys, len(stored), lambda offset, length: view[offset : offset + length]
            )
        except DecodeError as error:
            self._findings.add(name, error)
            self._take_blobs(pack, view)
            return False
        indexed = set(self._repository.cache.entries_of(pack.id))
        is_as_indexed = indexed == set(entries) and pack.key_count == len(header.table)
        if not is_as_indexed:
            text = "the index does not say what its directory says"
            self._findings.add(name, text, ProblemKind.INCONSISTENT)
        if header.kind == DATA_PACK and keys.private is None:
            return is_as_indexed
        return self._open_blobs(name, header, entries, view) and is_as_indexed

    def _open_blobs(
        self, name: str, header: PackHeader, entries: Sequence[PackEntry], view: memoryview
    ) -> bool:
        opened: dict[int, bytes] = {}
        all_open = True
        for entry in entries:
            stored = view[entry.offset : entry.offset + entry.stored_length]
            try:
                if entry.key not in opened:
                    opened[entry.key] = open_pack_key(self._repository.keys, header, entry.key)
                open_blob(self._repository.keys, opened[entry.key], entry, stored)
            except DecodeError as error:
                all_open = False
                self._findings.add(name, f"blob {entry.id.hex()}: {error}")
                self._findings.damage.places.add((ObjectId(bytes.fromhex(name[-64:])), entry.id))
        return all_open

    def _take_blobs(self, pack: PackSummary, view: memoryview) -> None:
        """Find out, by what the index says, which blobs a pack without a directory has whole."""
        keys = self._repository.keys
        if pack.kind == DATA_PACK and keys.private is None:
            return
        for entry in self._repository.cache.entries_of(pack.id):
            if take_blob(keys, pack, view, entry) is None:
                self._findings.damage.places.add((pack.id, entry.id))
