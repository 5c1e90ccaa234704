"""What of the previous version can be used again.

Nothing is taken on trust: an old blob counts only while the repository holds it, and what its
chunks are is read from companions and extent tables, which authenticate themselves.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

from snap.backends.base import BackendError
from snap.errors import IntegrityError

from .codec import DecodeError
from .content import load_table
from .digests import Digests, decode_digests
from .extents import Content, ExtentTable
from .ids import BlobId, Kind
from .repository import Repository

_KEPT_COMPANIONS = 2048
"""4 KiB each for pages of 4 KiB: 8 MiB."""
CLEAN_BELOW = 0.5
"""The share of a blob below which what a file still uses of it is stored anew (spec/DESIGN.md)."""
_KEPT_VERDICTS = 1 << 17


class Reuse:
    """Answers, for one run, what of older snapshots is there to be used."""

    def __init__(
        self,
        repository: Repository,
        holds: Callable[[BlobId], bool],
        clean_below: float = CLEAN_BELOW,
    ) -> None:
        self._repository = repository
        self._clean_below = clean_below
        self._holds = holds
        self._verdicts: dict[BlobId, bool] = {}
        self._given_up: set[BlobId] = set()
        self._companions: OrderedDict[BlobId, Digests | None] = OrderedDict()

    def is_held(self, blob: BlobId) -> bool:
        """Return whether the repository holds this blob."""
        if blob in self._given_up:
            return False
        verdict = self._verdicts.get(blob)
        if verdict is None:
            if len(self._verdicts) >= _KEPT_VERDICTS:
                self._verdicts.clear()
            verdict = self._verdicts[blob] = self._holds(blob)
        return verdict

    def give_up(self, blobs: Iterable[BlobId]) -> None:
        """Take these blobs as not held from now on."""
        self._given_up.update(blobs)

    def has_all(self, content: Content) -> bool:
        """Return whether every blob of a file is held, and its extent tables can be read."""
        # What a layout needs that is not known would be lost.
        return content.is_known and all(self._has_part(part) for part in content.parts)

    def _has_part(self, part: Content) -> bool:
        if not all(self.is_held(id_) for id_, _ in part.lists):
            return False
        return all(
            table is not None and all(e.blob is None or self.is_held(e.blob) for e in table.extents)
            for table, _ in self.tables(part)
        )

    def tables(self, content: Content) -> Iterator[tuple[ExtentTable | None, int]]:
        """Yield a file's extent tables and how many bytes each describes, None for a lost one.

        A file of records has none: its columns have.
        """
        if content.extents is not None:
            yield ExtentTable(content.extents, content.regions), content.size_bytes
            return
        for id_, length in content.lists:
            try:
                yield load_table(self._repository, content, id_, length), length
            except (IntegrityError, BackendError):
                yield None, length

    def digests(self, blob: BlobId, unit: int) -> Digests | None:
        """Return the chunks of a data blob, None where its companion is missing or damaged."""
        id_ = self._repository.keys.digests_id(blob, unit)
        if id_ in self._companions:
            self._companions.move_to_end(id_)
            return self._companions[id_]
        try:
            found: Digests | None = decode_digests(self._repository.load_blob(id_, Kind.DIGESTS))
        except (IntegrityError, BackendError, DecodeError):
            found = None
        if found is not None and found.offsets[-1] != self._blob_bytes(blob):
            # Not this blob's chunks, whoever wrote them.
            found = None
        self._companions[id_] = found
        while len(self._companions) > _KEPT_COMPANIONS:
            self._companions.popitem(last=False)
        return found

    def is_sparse(self, blob: BlobId, used_bytes: int) -> bool:
        """Return whether so little of a data blob is used that it is given up."""
        return used_bytes < self._clean_below * self._blob_bytes(blob)

    def _blob_bytes(self, blob: BlobId) -> int:
        places = self._repository.cache.locate(blob)
        return places[0].entry.raw_length if places else 0
