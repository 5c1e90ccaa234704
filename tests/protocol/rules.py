"""What the protocol does for safety, each thing with a name so that it can be left out."""

from dataclasses import dataclass
from enum import Enum

from .store import Kind


class Rule(Enum):
    """One precaution of the protocol."""

    # Backup, and whatever else puts snapshots.
    ASKS_DOOMED = "a backup does not count on packs that are doomed"
    LEASE_FIRST = "a backup puts its lease before it asks what is doomed"
    DOOMED_FIRST = "a backup asks what is doomed before it lists packs and index"
    SEES_PACKS = "a backup counts on a pack only if it is in the store"
    CONFIRMS = "the lease is confirmed before the snapshot is put"
    CONFIRMS_EVER = "to confirm means that the lease was never dead, not that it is alive now"
    CONFIRMS_AGAIN = "the lease is confirmed after the snapshot was put"
    CHECK_ASKS_DOOMED = "who finds its lease dead after the put does not count on doomed packs"
    # Mark.
    NOTES_LEASES = "a record says which leases were alive"
    LEASES_LISTED_LAST = "the leases are listed after the record is there"
    RECORD_STAYS = "the unfinished record stays beside the finished one"
    INDEX_LEFT = "a mark leaves the index as it is"
    MARK_CONFIRMS = "a mark confirms its lease before it puts the record"
    # Sweep.
    FINISHES = "an unfinished record is finished first, not swept"
    NEEDS_ANEW = "a sweep computes anew what is needed"
    LEASES_BEFORE_NEEDS = "a sweep asks for the leases before it computes what is needed"
    STABLE_LISTING = "snapshots and index are listed until two listings are equal"
    SNAPSHOTS_BEFORE_INDEX = "a prune reads the snapshots before the index"
    REFUSES = "a prune refuses when it finds no place of a blob that is needed"
    RESCUES = "what is needed and only in doomed packs is rescued"
    RESCUE_COPIES = "rescued is by a copy in a new pack: what is doomed stays doomed"
    SWEEP_CONFIRMS = "a sweep confirms its lease before it deletes"
    KEEPS_OTHERS = "only index objects that name deleted packs are replaced, by all else they named"
    NEW_INDEX_FIRST = "the new index object is put before the old one is deleted"
    INDEX_BEFORE_PACKS = "the index is rewritten before packs are deleted"
    RECORD_LAST = "a record is deleted after its packs"
    RECORD_OUTLIVES = "a record stays for days after its packs are gone"
    # Replicate and tag.
    REPLICATE_ASKS_DOOMED = "replicate does not count on packs that are doomed in the place"
    REPLICATE_RENAMES = "replicate puts the blobs of a doomed pack into a new pack"
    EXCLUSION = "replicate and prune exclude each other (where doomed packs are not renamed)"
    TAG_HAS_LEASE = "a tag holds a lease"
    TAG_LOOKS_AGAIN = (
        "a tag looks whether the former revision is still there, else takes its own back"
    )
    NEW_REVISION_FIRST = "the new revision is put before the old one is deleted"


@dataclass(frozen=True)
class Rules:
    """A protocol: all rules but some.

    Args:
        without: the rules that are left out.
        torn: what is listed in two halves, with anything happening between them.
        fused: whether confirming and putting the snapshot are one step, as no store can do it.
        days_later: whether records whose packs have been gone for days are deleted by this prune.
    """

    without: frozenset[Rule] = frozenset()
    torn: frozenset[Kind] = frozenset()
    fused: bool = False
    days_later: bool = False

    def has(self, rule: Rule) -> bool:
        return rule not in self.without
