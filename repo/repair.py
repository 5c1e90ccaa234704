"""Healing a repository from a copy, whichever of the two is the damaged one.

An object that is not what its name says is damaged; the same name stands for the same bytes in
every copy. What is put was compared with its name first. Nothing is deleted.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from snap.backends.base import Backend, ObjectNotFound, ShortRead
from snap.errors import IntegrityError, SnapError

from .catalog import Problem, snapshot_at
from .clock import Clock
from .codec import DecodeError
from .commit import doomed_warning
from .config import CONFIG_NAME, RepositoryConfig, RepositoryNotFound, check_config, decode_config
from .copy import foreign
from .doomed import DoomedList, list_doomed
from .envelope import open_object
from .heal_blobs import Secrets, Standing, heal_blobs
from .ids import Kind, id_of_name, pack_name
from .index import split_index
from .lease import Lease, Owner, lease_if_allowed, remove_dead
from .objects import WORKERS, StoredObject, get_verified
from .progress import Reporter
from .readme import README_TEXT
from .rebuild import refuse_beside_prune
from .replicate import COPYING, first_id, list_copied
from .repository import INDEX_PREFIX, SNAPSHOT_PREFIX, unlock
from .slots import KEY_PREFIX
from .snapshot import Snapshot
from .transfer import Reading, Transfer, problem_of
from .verified import PackReadings, remember_named

README_NAME = "README"


@dataclass(slots=True)
class RepairReport:
    """What a repair found and did.

    Attributes:
        healed: Objects that are whole again, and what was wrong with them.
        left: Objects that are damaged or missing still, since the copy does not have them whole.
        returned: Of those healed, key slots and snapshots that were not damaged but gone: a key
            slot may have been removed on purpose.
        bytes_read: Bytes of the repository that were read.
        bytes: Bytes put.
        warnings: What else the user should know.
    """

    healed: list[Problem] = field(default_factory=list)
    left: list[Problem] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    bytes_read: int = 0
    bytes: int = 0
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Return whether everything is whole."""
        return not self.left


def unlock_either(target: Backend, source: Backend, credential: str) -> Secrets:
    """Open the repository or, where it is too damaged for that, its copy.

    Raises:
        RepositoryNotFound, WrongPassword, IntegrityError: neither can be opened; says why for the
            copy.
    """
    try:
        return Secrets(*unlock(target, credential, []))
    except SnapError:
        return Secrets(*unlock(source, credential, []))


def run_repair(
    target: Backend,
    source: Backend,
    secrets: Secrets,
    reporter: Reporter,
    *,
    owner: Owner,
    clock: Clock,
) -> RepairReport:
    """Read all of ``target`` and put what is damaged or missing from ``source``.

    Objects are put in the order in which a backup writes them, ``config`` last.

    Raises:
        RepositoryNotFound: there is nothing to heal, or no copy.
        ForeignRepository: one of the two belongs to another repository.
        RepositoryLocked: a prune runs in ``target``.
        BackendError: one of the stores failed; what was put stays.
        IntegrityError: the copy's ``config`` is damaged: heal that one first.
    """
    config = _config_of_copy(source, secrets)
    run = _Repair(target, source, secrets, reporter, clock)
    broken = _examine_config(target, secrets, run.has_common)
    keys = secrets.keys
    with (
        Lease(target, keys, owner, clock) as own,
        lease_if_allowed(Lease(source, keys, owner, clock)) as lease,
    ):
        for store, held in ((target, own), (source, lease)):
            if held is not None:
                remove_dead(store, keys, held, owner.hostname, COPYING)
        refuse_beside_prune(target, keys, own, owner.hostname)
        run.read()
        run.heal()
        run.remember(clock)
        _mend_readme(target, run.report)
        if broken is not None:
            # What the copy's store lacks says nothing about this one.
            anew = replace(config, instance_id=os.urandom(16), created_ns=clock(), store=None)
            is_missing = broken.problem == "missing"
            target.put(CONFIG_NAME, anew.encode(secrets.keys.config_key), exclusive=is_missing)
            run.report.healed.append(broken)
    return run.report


def _config_of_copy(source: Backend, secrets: Secrets) -> RepositoryConfig:
    try:
        stored = source.get(CONFIG_NAME)
    except ObjectNotFound as error:
        raise RepositoryNotFound(
            f"no copy at {source.location}", "name a copy that 'snap replicate' has filled"
        ) from error
    config = decode_config(stored)
    if config.repository_id != secrets.config.repository_id:
        raise foreign(source)
    check_config(stored, secrets.keys.config_key)
    return config


def _examine_config(
    target: Backend, secrets: Secrets, has_common: Callable[[], bool]
) -> Problem | None:
    """Return what is wrong with the repository's ``config``, once it is certain whose it is."""
    try:
        stored = target.get(CONFIG_NAME)
        decode_config(stored)
        check_config(stored, secrets.keys.config_key)
    except ObjectNotFound as error:
        if not has_common():
            raise RepositoryNotFound(
                f"no repository at {target.location}",
                "make a copy of the other there with 'snap init --copy-of' and 'snap replicate'",
            ) from error
        return Problem(CONFIG_NAME, "missing")
    except IntegrityError as error:
        # A flipped bit may have made another repository's id of ours.
        if not has_common():
            raise foreign(target) from error
        return problem_of(CONFIG_NAME, error)
    return None


def _mend_readme(target: Backend, report: RepairReport) -> None:
    try:
        if target.get(README_NAME) == README_TEXT.encode():
            return
        problem = Problem(README_NAME, "not the text that belongs there")
    except ObjectNotFound:
        problem = Problem(README_NAME, "missing")
    target.put(README_NAME, README_TEXT.encode())
    report.healed.append(problem)


class _Repair:
    """One repair. The objects of both stores are listed once, at the beginning."""

    def __init__(
        self, target: Backend, source: Backend, secrets: Secrets, reporter: Reporter, clock: Clock
    ) -> None:
        self._target = target
        self._source = source
        self._secrets = secrets
        self._keys = secrets.keys
        self._clock = clock
        self._doomed = DoomedList()
        self._reporter = reporter
        self._here = list_copied(target)
        self._there = list_copied(source)
        self._damaged: dict[str, Problem] = {}
        self._unreadable: dict[str, Problem] = {}
        self._readings = PackReadings(clock)
        self.report = RepairReport()

    def has_common(self) -> bool:
        """Return whether both stores have an object of the same name."""
        return not self._here.keys().isdisjoint(self._there)

    def _advance(self, count_bytes: int, name: str) -> None:
        self._reporter.advance(count_bytes, item=name[-64:][:8])

    def read(self) -> None:
        """Compare everything that is here with its name.

        What is listed is listed anew: a pack that went before our lease could be seen is named by
        a doomed object, or is not there.
        """
        self._doomed = list_doomed(self._target, self._keys)
        self.report.warnings += map(doomed_warning, self._doomed.problems)
        self._here = list_copied(self._target)
        self._reporter.start("reading the repository", sum(self._here.values()))
        note = self._readings.note_name
        reading = Reading(self._target, advance=self._advance, workers=WORKERS, note=note)
        reading.run(map(StoredObject._make, self._here.items()))
        self._reporter.finish()
        self._damaged = reading.damaged
        self.report.bytes_read = reading.bytes

    def heal(self) -> None:
        """Put what is damaged or missing."""
        slots = self._lacking(KEY_PREFIX)
        snapshots = self._wanted_snapshots()
        # One that is missing was lost, or replaced by a prune: what is needed of it comes by blobs.
        index = [name for name in self._lacking(INDEX_PREFIX) if name in self._damaged]
        packs = self._wanted_packs(index)
        groups = [list(map(self._stored, names)) for names in (slots, packs, index, snapshots)]
        self._reporter.start("healing", sum(one.size_bytes for group in groups for one in group))
        for group in groups:
            self._put(group)
        self._heal_blobs()
        self._reporter.finish()
        healed = {problem.object for problem in self.report.healed}
        self.report.left += [
            problem
            for name, problem in self._damaged.items()
            if name not in healed and name not in self._unreadable
        ]
        self.report.left.sort(key=lambda problem: problem.object)

    def _heal_blobs(self) -> None:
        """Put what is still missing from other packs of the copy than those that had it here."""
        healed = {problem.object for problem in self.report.healed}
        whole = {n: size for n, size in self._here.items() if n not in self._damaged}
        whole |= {name: self._there[name] for name in healed if name in self._there}
        found = heal_blobs(
            (self._target, self._source),
            self._secrets,
            self._clock,
            Standing(whole, self._doomed.pack_ids()),
            self._advance,
        )
        self.report.bytes += found.bytes
        self.report.healed += [Problem(name, "needed, and missing") for name in sorted(found.names)]
        told = {problem.object for problem in self.report.left}
        self.report.left += [one for one in found.problems if one.object not in told]
        if found.is_whole:
            self._forgive_packs()

    def _forgive_packs(self) -> None:
        """Take packs that nobody needs any more out of what is wrong: all has another place."""
        left = []
        for problem in self.report.left:
            if problem.object.startswith(("data/", "meta/")):
                self.report.warnings.append(
                    f"{problem.object}: {problem.problem}; all that the snapshots need of it has "
                    "another place, and the next prune drops it"
                )
                self._unreadable[problem.object] = problem
            else:
                left.append(problem)
        self.report.left = left

    def remember(self, clock: Clock) -> None:
        """Put down which packs were read; what was healed was put anew, and not read since."""
        for problem in self.report.healed:
            self._readings.forget(problem.object)
        names = self._here.keys()
        told = remember_named(self._target, self._keys, self._readings, names, clock=clock)
        self.report.warnings += told

    def _is_whole(self, name: str) -> bool:
        return name in self._here and name not in self._damaged

    def _lacking(self, prefix: str) -> list[str]:
        """Return what the copy has and what is not whole here."""
        return sorted(
            name for name in self._there if name.startswith(prefix) and not self._is_whole(name)
        )

    def _stored(self, name: str) -> StoredObject:
        return StoredObject(name, self._there.get(name, 0))

    def _put(self, objects: Iterable[StoredObject]) -> None:
        transfer = Transfer(self._source, self._target, advance=self._advance)
        transfer.run(objects)
        self.report.bytes += transfer.bytes
        for name in sorted(transfer.moved):
            self.report.healed.append(self._wrong_with(name))
            if name not in self._here and name.startswith((KEY_PREFIX, SNAPSHOT_PREFIX)):
                self.report.returned.append(name)
        for problem in transfer.problems:
            name = problem.object
            self._unreadable[name] = problem
            here = self._wrong_with(name).problem
            self.report.left.append(Problem(name, f"{here}; in the copy: {problem.problem}"))

    def _wrong_with(self, name: str) -> Problem:
        return self._damaged.get(name, Problem(name, "missing"))

    def _wanted_packs(self, index: list[str]) -> list[str]:
        """Return the packs that are not whole here and that an index object names.

        One here, or one of ``index`` in the copy. And those that are damaged without being named:
        the copy may have them. One that a prune deletes is not put again: its name may go any time.
        """
        doomed = self._doomed.pack_ids()
        wanted = {n for n in self._damaged if n.startswith(("data/", "meta/"))}
        own = [n for n in self._here if n.startswith(INDEX_PREFIX) and self._is_whole(n)]
        for backend, names in ((self._target, own), (self._source, index)):
            for name in names:
                wanted.update(n for n in self._packs_of(backend, name) if not self._is_whole(n))
        return sorted(n for n in wanted if n in self._damaged or id_of_name(n) not in doomed)

    def _packs_of(self, backend: Backend, name: str) -> Iterator[str]:
        try:
            body = open_object(self._keys, Kind.INDEX, get_verified(backend, name))
            packs = split_index(body)
        except (IntegrityError, DecodeError, ObjectNotFound, ShortRead):
            # Of the copy's: told when it is fetched. Of our own: its hash was right a moment ago.
            return
        for pack in packs:
            yield pack_name(pack.kind, pack.id)

    def _wanted_snapshots(self) -> list[str]:
        """Return the snapshots of the copy that are not whole here, but for replaced revisions."""
        revisions: dict[bytes, int] = {}
        for name in self._here:
            if name.startswith(SNAPSHOT_PREFIX) and self._is_whole(name):
                snapshot = self._read_snapshot(self._target, name)
                if snapshot is not None:
                    first = first_id(snapshot)
                    revisions[first] = max(snapshot.revision, revisions.get(first, 0))
        wanted = []
        forgotten = self._doomed.forgotten()
        for name in self._lacking(SNAPSHOT_PREFIX):
            snapshot = self._read_snapshot(self._source, name)
            is_damaged = name in self._damaged
            if snapshot is not None and not is_damaged and first_id(snapshot) in forgotten:
                # Not lost: it was let go here. One that the store keeps nevertheless counts.
                continue
            is_replaced = snapshot is not None and snapshot.revision < revisions.get(
                first_id(snapshot), 0
            )
            if is_damaged or not is_replaced:
                wanted.append(name)
        return wanted

    def _read_snapshot(self, backend: Backend, name: str) -> Snapshot | None:
        try:
            return snapshot_at(self._keys, backend, name)
        except (IntegrityError, ObjectNotFound, ShortRead):
            return None
