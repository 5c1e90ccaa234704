"""Whether a restored Neo4j is what was recorded, and whether a server can be given it."""

from collections.abc import Mapping
from typing import Any

from snap.errors import IntegrityError, TargetError

from .neo4j_server import parse_version

_COUNTS = ("labels", "relationship_types")


def require_not_older(version: str, recorded: Mapping[str, str], name: str) -> None:
    """Refuse a server of an older release than the one that wrote the data.

    Patches of one release, as 5.26.1 and 5.26.9, read each other's data.

    Raises:
        TargetError: it is older.
    """
    was = recorded.get("neo4j", "")
    if was and parse_version(version)[:2] < parse_version(was)[:2]:
        raise TargetError(
            f"{name} is of Neo4j {was}, and the server is {version}: an older one cannot read it; "
            "nothing was changed",
            f"install Neo4j {was} or a newer one",
        )


def compare_counts(database: str, recorded: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Compare what a server says that it holds with what was recorded; return that as proof.

    Raises:
        IntegrityError: it differs.
    """
    wanted, given = _comparable(recorded), _comparable(found)
    for key in wanted:
        if given.get(key) != wanted[key]:
            difference = _difference(wanted[key], given.get(key))
            raise IntegrityError(
                f"the restored database {database}: {key} {difference}",
                "restore an earlier snapshot",
            )
    return (
        f"{recorded['nodes']} nodes, {recorded['relationships']} relationships, "
        f"{len(recorded.get('indexes', ()))} indexes and {len(recorded.get('constraints', ()))} "
        "constraints, as recorded at the backup"
    )


def _comparable(statistics: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: statistics[key] for key in ("nodes", "relationships") if key in statistics}
    for key in _COUNTS:
        if key in statistics:
            # A label that nothing has any more is named for a while.
            found[key] = {name: count for name, count in statistics[key].items() if count}
    for key in ("indexes", "constraints"):
        if key in statistics:
            # Whether an index is still filled may differ.
            found[key] = {
                str(entry["name"]): {k: v for k, v in entry.items() if k != "state"}
                for entry in statistics[key]
            }
    return found


def _difference(wanted: Any, given: Any) -> str:
    if not isinstance(wanted, Mapping) or not isinstance(given, Mapping):
        return f"are {given}, recorded were {wanted}"
    name = next(n for n in sorted(wanted.keys() | given.keys()) if wanted.get(n) != given.get(n))
    return f"{name}: {given.get(name)!r}, recorded was {wanted.get(name)!r}"
