"""How people say that a Neo4j server is reached."""

from typing import NamedTuple

NATIVE, DOCKER = "neo4j", "neo4j-docker"
"""The kinds of source: a server installed on this machine, and one in a container."""


class Neo4jAccess(NamedTuple):
    """How a server is reached, and what people want of it; empty where they did not say.

    ``url`` is Bolt's, ``docker_url`` the daemon's.
    """

    user: str = ""
    password: str = ""
    url: str = ""
    docker_url: str = ""
    database: str = ""
    skip_unchanged: bool = False
    offline: bool = False


UNSAID = Neo4jAccess()
