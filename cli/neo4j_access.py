"""How Neo4j's servers are reached, as its own programs are told."""

from snap.sources.neo4j_access import Neo4jAccess

from .settings import Settings


def neo4j_access(
    settings: Settings, *, database: str = "", skip_unchanged: bool = False
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
    )
