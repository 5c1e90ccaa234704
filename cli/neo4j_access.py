"""How Neo4j's servers are reached: by the configuration, else as their own programs are told."""

import os
from typing import TYPE_CHECKING

from snap.sources.neo4j_access import Neo4jAccess

from .configuration import passwords
from .password import read_secret
from .settings import Settings

if TYPE_CHECKING:
    from .config_file import Configuration, SourceTable


def neo4j_access(
    settings: Settings,
    *,
    database: str = "",
    skip_unchanged: bool = False,
    offline: bool = False,
) -> Neo4jAccess:
    """Return user, password and addresses from the environment that the settings hold."""
    said = dict(settings.server_variables)
    return Neo4jAccess(
        user=said.get("NEO4J_USERNAME", ""),
        password=said.get("NEO4J_PASSWORD", ""),
        url=said.get("NEO4J_URI", ""),
        docker_url=said.get("DOCKER_HOST", ""),
        database=database,
        skip_unchanged=skip_unchanged,
        offline=offline,
    )


def configured_access(
    access: Neo4jAccess, table: "SourceTable", found: "Configuration"
) -> Neo4jAccess:
    """Return the same with what a configured source says put over it.

    Raises:
        UsageError, SnapError: its password cannot be read.
    """
    values = table.values
    secrets = passwords(found, values, "sources", table.name)
    return access._replace(
        user=values.get("username", access.user),
        password=read_secret(secrets[0]) if secrets else access.password,
        url=values.get("url", access.url),
        docker_url=values.get("docker_url", access.docker_url),
        database=values.get("database", access.database),
        skip_unchanged=values.get("skip_unchanged", False) or access.skip_unchanged,
        offline=values.get("offline", False) or access.offline,
    )


def access_to(settings: Settings, kind: str, place: str, *, database: str = "") -> Neo4jAccess:
    """Return how the server at a place is reached, by the configured source of that place.

    Raises:
        UsageError, SnapError: its password cannot be read.
    """
    access = neo4j_access(settings)
    found = settings.configuration
    for table in found.sources if found is not None else ():
        if found is not None and table.kind == kind and _is_at(table, found, place):
            access = configured_access(access, table, found)
    return access._replace(database=database)


def _is_at(table: "SourceTable", found: "Configuration", place: str) -> bool:
    if "container" in table.values:
        return bool(table.values["container"] == place)
    home = found.path_of(table.values.get("home", "."))
    # Without a home it is the one that is installed.
    return "home" not in table.values or os.path.realpath(home) == os.path.realpath(place)
