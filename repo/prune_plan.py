"""What is worth deleting and moving: decided from a survey, without changing anything."""

from collections.abc import Callable, Set
from dataclasses import dataclass, field

from .doomed import DoomedPack
from .ids import ObjectId
from .pack import DATA_PACK, META_PACK
from .repack import META_PACK_BYTES
from .repository import Repository
from .survey import Survey, Use, uses

_MOSTLY = 0.5
"""A pack of which more is unused is always moved."""
_SMALL_SHARE = 8
"""A pack is small below this part of a full one."""
_PACKS_OF_ALL = 8
"""What is kept is moved into so many packs at least: what is moved takes its place twice until the
next run, and one full pack may be all that a small repository has."""
_SMALLEST_SHARE = 32
"""But packs of this part of a full one are always filled."""
_MANY_SMALL = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What is worth moving.

    Attributes:
        max_unused: The share of all that is kept which may lie unused. Packs are moved, the least
            used first, until it is met; those that are mostly unused in any case.
        max_repack_bytes: Bytes of old packs that are read at most in one run.
    """

    max_unused: float = 0.1
    max_repack_bytes: int | None = None


@dataclass(slots=True)
class Plan:
    """What there is to do.

    Attributes:
        unneeded: Packs to be doomed.
        repack: Packs to be moved, and then doomed.
        rescue: Packs that are doomed and needed again: they are moved, and stay doomed.
        needed: Packs that are in use, doomed ones as well.
        named: Packs that the index names.
        absent: Packs that the index names, and that the store does not have as they should be.
        full_bytes: How large new packs become, by their kind.
    """

    unneeded: dict[ObjectId, DoomedPack] = field(default_factory=dict)
    repack: list[Use] = field(default_factory=list)
    rescue: list[Use] = field(default_factory=list)
    needed: set[ObjectId] = field(default_factory=set)
    named: set[ObjectId] = field(default_factory=set)
    absent: set[ObjectId] = field(default_factory=set)
    full_bytes: dict[int, int] = field(default_factory=dict)
    kept_bytes: int = 0
    unused_bytes: int = 0


def make_plan(
    repository: Repository,
    found: Survey,
    doomed: Set[ObjectId],
    limits: Limits,
    *,
    spare: Callable[[ObjectId], bool],
    take_unindexed: bool,
) -> Plan:
    """Return what there is to do.

    ``spare`` says of which packs nothing is done this time. ``take_unindexed``: packs that no index
    object names are doomed; they are what an interrupted backup left, or one that runs now put.
    """
    plan = Plan()
    stay: list[Use] = []
    spared: list[Use] = []
    for use in uses(repository, found):
        plan.named.add(use.id)
        if use.blobs:
            plan.needed.add(use.id)
        if not found.is_there(use):
            plan.absent.add(use.id)
        elif use.id in doomed:
            plan.rescue += [use] if use.blobs else []
        elif spare(use.id):
            spared.append(use)
        elif use.blobs:
            stay.append(use)
        else:
            plan.unneeded[use.id] = DoomedPack(use.kind, use.size_bytes)
    plan.kept_bytes = sum(use.size_bytes for use in stay)
    plan.unused_bytes = sum(use.unused_bytes for use in stay)
    plan.full_bytes = {
        kind: full_bytes(repository, kind, plan.kept_bytes) for kind in (DATA_PACK, META_PACK)
    }
    _choose(plan, stay, limits)
    plan.kept_bytes += sum(use.size_bytes for use in spared)
    plan.unused_bytes += sum(use.unused_bytes for use in spared)
    if take_unindexed:
        for id_, kind, size_bytes in found.stored.all():
            if not (id_ in plan.named or id_ in doomed or spare(id_)):
                plan.unneeded[id_] = DoomedPack(kind, size_bytes)
    return plan


def full_bytes(repository: Repository, kind: int, kept_bytes: int) -> int:
    """Return how large the packs become into which what is needed is moved."""
    limit = repository.config.parameters.pack_bytes
    share = max(kept_bytes // _PACKS_OF_ALL, limit // _SMALLEST_SHARE)
    return min(limit, share) if kind == DATA_PACK else min(limit, share, META_PACK_BYTES)


def _choose(plan: Plan, stay: list[Use], limits: Limits) -> None:
    """Choose the packs to be moved: the least used first, then small ones if they are many."""
    left = limits.max_repack_bytes
    allowed = limits.max_unused * plan.kept_bytes
    chosen: set[ObjectId] = set()

    def take(use: Use) -> bool:
        nonlocal left
        if left is not None and use.size_bytes > left:
            return False
        left = None if left is None else left - use.size_bytes
        plan.repack.append(use)
        chosen.add(use.id)
        plan.unused_bytes -= use.unused_bytes
        plan.kept_bytes -= use.unused_bytes
        return True

    partly = [use for use in stay if use.unused_bytes]
    for use in sorted(partly, key=lambda use: use.used_bytes / use.size_bytes):
        mostly = use.unused_bytes > _MOSTLY * use.size_bytes
        if not (mostly or plan.unused_bytes > allowed):
            break
        take(use)
    for kind, full in plan.full_bytes.items():
        several = [
            use
            for use in stay
            if use.kind == kind and use.size_bytes < full // _SMALL_SHARE and use.id not in chosen
        ]
        fill_one = sum(use.used_bytes for use in several) >= full
        if len(several) >= _MANY_SMALL or (fill_one and len(several) > 1):
            for use in sorted(several, key=lambda use: use.size_bytes):
                if not take(use):
                    break
