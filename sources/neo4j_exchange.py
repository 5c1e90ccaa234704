"""Exchanging the folders of a stopped Neo4j, of several databases, as one step.

A database is two folders, its store and its transaction logs, and no system call exchanges more
than one at once. So a journal is on disk before the first of them moves. It names each folder and
tells them by their inode numbers, so that whoever reads it later sees what was moved and what was
not; and it says the direction: ``back`` while the folders move, ``forward`` as soon as all have.
The server is never started between the two. In the folder given:
``exchange-<digest of kind and place>.json``.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from snap.errors import SourceError, TargetError
from snap.repo.process import is_gone, process_identity
from snap.repo.source import Source

from .neo4j_server import ByteStream, ConfiguredServer, StoreInfo
from .sync import sync_folder, write_durably

BACK, FORWARD = "back", "forward"
_PREFIX = "exchange-"
_ASIDE = ".aside"
"""Of a folder that has no name of its own while two are exchanged by renaming."""


class Step(NamedTuple):
    """A rename, or an exchange of two names if ``swaps``."""

    swaps: bool
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Move:
    """One live folder and the one that takes its place.

    Attributes:
        live, staged: Their paths.
        old, new: The inode numbers of what was live and of what was staged; ``old`` is empty where
            there was nothing.
    """

    live: str
    staged: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is exchanged at one server, by which process.

    ``token`` names the folder in which the new state lies, then the old one.
    """

    kind: str
    place: str
    token: str
    direction: str
    moves: tuple[Move, ...]
    pid: int
    process: str

    def is_left(self) -> bool:
        """Return whether the process that began it is gone."""
        return is_gone(self.pid, self.process)


class Neo4jStage(Protocol):
    """A folder beside a server's data, and what is exchanged with it. Paths are the server's."""

    def make(self) -> None:
        """Make it, empty, and remove what others left whose processes are gone.

        Raises:
            TargetError: it cannot be made.
        """
        ...

    def free_bytes(self) -> int:
        """Return what there is room for."""
        ...

    def load(self, database: str, dump: ByteStream) -> Sequence[str]:
        """Load a dump into the staged data; return its warnings."""
        ...

    def info(self, database: str) -> StoreInfo:
        """Return the state of a staged database."""
        ...

    def check(self, database: str) -> None:
        """Run Neo4j's own check of a staged database.

        Raises:
            IntegrityError: it is not consistent.
        """
        ...

    def folders(self, database: str) -> list[tuple[str, str]]:
        """Return live and staged path of each folder of a database."""
        ...

    def identify(self, paths: Sequence[str]) -> dict[str, str]:
        """Return inode numbers; empty for what is not there."""
        ...

    def apply(self, steps: Sequence[Step]) -> None:
        """Do the steps in order; durable on return.

        Raises:
            OSError, SourceError: one could not be done; those before it were.
        """
        ...

    def plain_sources(self, database: str, name: str) -> list[Source]:
        """Return what keeps the live folders of a database as they are; empty if it cannot be."""
        ...

    def remove(self) -> None:
        """Remove it with all that is in it; nothing happens where it is not."""
        ...

    def keep(self) -> str:
        """Give it a name under which it is never removed, and return that."""
        ...


class StageableServer(ConfiguredServer, Protocol):
    """A server beside whose data another state can be made."""

    def stage(self, token: str) -> Neo4jStage:
        """Return the stage of that name; it need not be there."""
        ...


# ------------------------------------------------------------------ the journal


def begin_exchange(
    folder: Path, stage: Neo4jStage, *, kind: str, place: str, token: str, databases: Sequence[str]
) -> Exchange:
    """Write what is going to be exchanged; durable on return.

    Raises:
        SourceError: something staged is missing, or the journal cannot be written.
    """
    pairs = [pair for database in databases for pair in stage.folders(database)]
    found = stage.identify([path for pair in pairs for path in pair])
    moves = tuple(Move(live, staged, found[live], found[staged]) for live, staged in pairs)
    for move in moves:
        if not move.new:
            raise SourceError(f"{move.staged} is not there: nothing was exchanged")
    process = process_identity(os.getpid())
    exchange = Exchange(kind, place, token, BACK, moves, os.getpid(), process)
    _write(folder, exchange)
    return exchange


def turn(folder: Path, exchange: Exchange, direction: str) -> Exchange:
    """Write where an interrupted exchange is to be rolled from now on; durable on return."""
    turned = replace(exchange, direction=direction)
    _write(folder, turned)
    return turned


def end_exchange(folder: Path, exchange: Exchange) -> None:
    """Remove the journal."""
    with suppress(FileNotFoundError):
        _path(folder, exchange.kind, exchange.place).unlink()
        sync_folder(folder)


def find_exchange(folder: Path, *, kind: str, place: str) -> Exchange | None:
    """Return the exchange at a server that was not ended, if there is one."""
    return _read(_path(folder, kind, place))


def left_exchanges(folder: Path) -> list[Exchange]:
    """Return the exchanges that processes which are gone did not end."""
    found = [_read(path) for path in sorted(folder.glob(f"{_PREFIX}*.json"))]
    return [exchange for exchange in found if exchange is not None and exchange.is_left()]


def _path(folder: Path, kind: str, place: str) -> Path:
    digest = hashlib.sha256(f"{kind}\0{place}".encode("utf-8", "surrogateescape")).hexdigest()
    return folder / f"{_PREFIX}{digest[:24]}.json"


def _write(folder: Path, exchange: Exchange) -> None:
    path = _path(folder, exchange.kind, exchange.place)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_durably(path, json.dumps(asdict(exchange)))
    except OSError as error:
        raise SourceError(
            f"cannot note in {folder} what is exchanged at {exchange.place}: {error.strerror}",
            "databases are exchanged only where snap can note it: free space there",
        ) from error


def _read(path: Path) -> Exchange | None:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    try:
        found: Any = json.loads(text)
        moves = tuple(
            Move(str(m["live"]), str(m["staged"]), str(m["old"]), str(m["new"]))
            for m in found["moves"]
        )
        return Exchange(
            kind=str(found["kind"]),
            place=str(found["place"]),
            token=str(found["token"]),
            direction=str(found["direction"]),
            moves=moves,
            pid=int(found["pid"]),
            process=str(found["process"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"the journal {path} of an interrupted restore cannot be read",
            "see which of the folders beside Neo4j's data is whole, then remove the file",
        ) from error


# ------------------------------------------------------------------ the folders


def put_in_place(stage: Neo4jStage, exchange: Exchange) -> None:
    """Give all that is staged its place; what was there takes the staged one's."""
    stage.apply([Step(bool(move.old), move.staged, move.live) for move in exchange.moves])


def put_back(stage: Neo4jStage, exchange: Exchange) -> bool:
    """Give all that was live its place again, whatever of the exchange was done.

    Returns whether something else was found there, which was put into the stage's folder.

    Raises:
        TargetError: what was live is not found; nothing was moved.
    """
    paths = [p for m in exchange.moves for p in (m.live, m.staged, m.staged + _ASIDE)]
    found = stage.identify(paths)
    steps: list[Step] = []
    for move in exchange.moves:
        steps += _steps_back(move, found)
    stage.apply(steps)
    return any(found[move.live] not in ("", move.old, move.new) for move in exchange.moves)


def _steps_back(move: Move, found: Mapping[str, str]) -> list[Step]:
    if move.old == found[move.live]:
        return []
    steps = []
    if found[move.live]:
        away = f"{move.staged}.unproven-{secrets.token_hex(4)}"
        steps.append(Step(swaps=False, source=move.live, target=away))
    if move.old:
        where = [p for p in (move.staged, move.staged + _ASIDE) if found[p] == move.old]
        if not where:
            raise TargetError(
                f"what was in {move.live} before an interrupted restore is not found beside it",
                "restore it from a snapshot tagged before-restore, with --target",
            )
        steps.append(Step(swaps=False, source=where[0], target=move.live))
    return steps


def swap_by_renames(step: Step) -> list[tuple[str, str]]:
    """Return the renames that exchange two names, where no system call does it at once."""
    aside = step.source + _ASIDE
    return [(step.target, aside), (step.source, step.target), (aside, step.source)]
