"""What is lost of each snapshot, by path."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from snap.errors import IntegrityError, SnapError

from .browse import Place
from .codec import DecodeError
from .content import DAMAGE, extents_of
from .extents import Content
from .ids import BlobId, Kind, ObjectId, pack_name
from .live import LiveSet
from .repository import Repository
from .snapshot import FAILED, Snapshot
from .source import NodeType
from .tree import MAX_DEPTH, Node, check_order, decode_tree

LISTED = 10_000
"""So many lost paths are kept for the report; all are counted."""


@dataclass(slots=True)
class Damage:
    """Which places of blobs are known not to give them.

    Attributes:
        sizes: Of packs that are not as long as the index says, how long they are; None: missing.
        places: Packs with blobs in them that do not open.
    """

    sizes: dict[ObjectId, int | None] = field(default_factory=dict)
    places: set[tuple[ObjectId, BlobId]] = field(default_factory=set)

    def spares(self, repository: Repository, blob: BlobId) -> bool:
        """Return whether some place of a blob is not known to be bad."""
        for place in repository.cache.locate(blob):
            if (place.pack_id, blob) in self.places:
                continue
            end = place.entry.offset + place.entry.stored_length
            size = self.sizes.get(place.pack_id, end)
            if size is not None and end <= size:
                return True
        return False


@dataclass(frozen=True, slots=True)
class LostPath:
    """A file that cannot be had whole, or a folder of which something is not known any more.

    ``path`` is empty for the whole component.
    """

    snapshot: Snapshot
    component: str
    path: Place
    problem: str


@dataclass(slots=True)
class Losses:
    """The paths that are lost: the first of them, and how many there are."""

    paths: list[LostPath] = field(default_factory=list)
    count: int = 0


def collect_losses(repository: Repository, snapshots: Sequence[Snapshot], damage: Damage) -> Losses:
    """Return what is lost of these snapshots."""
    lost = lost_paths(repository, snapshots, damage)
    paths = list(islice(lost, LISTED))
    return Losses(paths, len(paths) + sum(1 for _ in lost))


def lost_paths(
    repository: Repository, snapshots: Sequence[Snapshot], damage: Damage
) -> Iterator[LostPath]:
    """Yield what is lost of each snapshot; what several share is told for each.

    What is whole is looked at once, however many snapshots share it.
    """
    search = _Search(repository, damage)
    for snapshot in snapshots:
        for component in snapshot.components:
            name = component.name
            if component.subtree is not None:
                for place, problem in search.below(component.subtree):
                    yield LostPath(snapshot, name, place, problem)
            elif component.status != FAILED:
                yield LostPath(snapshot, name, (), "the snapshot names no tree")


@dataclass(slots=True)
class _Folder:
    """A folder that is being looked through."""

    place: Place
    subtree: Sequence[BlobId]
    nodes: Iterator[Node]
    is_whole: bool = True


class _Search:
    def __init__(self, repository: Repository, damage: Damage) -> None:
        self._repository = repository
        self._damage = damage
        self._whole = LiveSet(repository.cache)

    def below(self, subtree: Sequence[BlobId]) -> Iterator[tuple[Place, str]]:
        """Yield what is lost below a folder, and why."""
        problems: list[tuple[Place, str]] = []
        stack = [self._open((), subtree, problems)]
        while stack:
            folder = stack[-1]
            node = next(folder.nodes, None)
            if problems:
                folder.is_whole = False
                yield from problems
                problems.clear()
            if node is None:
                self._close(stack)
                continue
            place = (*folder.place, node.name)
            if node.content is not None:
                problem = self._problem_of(node.content)
                if problem:
                    folder.is_whole = False
                    yield place, problem
            if node.type is NodeType.DIR and not self._is_whole(node.subtree):
                if len(stack) >= MAX_DEPTH:
                    folder.is_whole = False
                    yield place, f"nested deeper than {MAX_DEPTH}"
                    continue
                stack.append(self._open(place, node.subtree, problems))

    def _open(
        self, place: Place, subtree: Sequence[BlobId], problems: list[tuple[Place, str]]
    ) -> _Folder:
        return _Folder(place, subtree, self._nodes(place, subtree, problems))

    def _close(self, stack: list[_Folder]) -> None:
        folder = stack.pop()
        if folder.is_whole:
            for id_ in folder.subtree:
                self._whole.mark(id_)
        elif stack:
            stack[-1].is_whole = False

    def _is_whole(self, subtree: Sequence[BlobId]) -> bool:
        return all(self._whole.has_blob(id_) for id_ in subtree)

    def _nodes(
        self, place: Place, subtree: Sequence[BlobId], problems: list[tuple[Place, str]]
    ) -> Iterator[Node]:
        if self._is_whole(subtree):
            return
        last = b""
        for id_ in subtree:
            try:
                nodes = decode_tree(self._repository.load_blob(id_, Kind.TREE))
                last = check_order(nodes, after=last)
            except (DecodeError, *DAMAGE) as error:
                part = "a part of the folder" if len(subtree) > 1 else "what is in the folder"
                problems.append((place, f"{part} is not known: {error}"))
                continue
            yield from nodes

    def _problem_of(self, content: Content) -> str:
        """Return why a file cannot be had whole, or nothing."""
        try:
            for part in content.parts:
                # An inline table goes with its tree; lists are blobs of their own.
                for list_ in part.lists:
                    if not self._whole.has_blob(list_[0]):
                        self._require(part._replace(lists=(list_,), extents=None))
                        self._whole.mark(list_[0])
                if part.extents is not None:
                    self._require(part._replace(lists=()))
        except (DecodeError, *DAMAGE) as error:
            return str(error)
        return ""

    def _require(self, content: Content) -> None:
        for extent in extents_of(self._repository, content, "it"):
            blob = extent.blob
            if blob is None or self._whole.has_blob(blob):
                continue
            if not self._damage.spares(self._repository, blob):
                raise self._missing(blob)
            self._whole.mark(blob)

    def _missing(self, blob: BlobId) -> SnapError:
        places = self._repository.cache.locate(blob)
        if not places:
            return IntegrityError(f"blob {blob.hex()} is lost: in no index")
        name = pack_name(places[0].pack_kind, places[0].pack_id)
        return IntegrityError(f"{name}: blob {blob.hex()} in it is lost")
