"""Users, passwords and addresses come from what Neo4j's and Docker's own programs read."""

from snap.cli.neo4j_access import neo4j_access
from snap.cli.settings import Settings


def test_what_the_environment_says_is_the_access() -> None:
    said = (("NEO4J_USERNAME", "eve"), ("NEO4J_PASSWORD", "p"), ("DOCKER_HOST", "unix:///d"))
    access = neo4j_access(Settings(server_variables=said), database="shop")
    assert (access.user, access.password, access.url) == ("eve", "p", "")
    assert (access.docker_url, access.database) == ("unix:///d", "shop")


def test_nothing_said_is_nothing_known() -> None:
    assert not any(neo4j_access(Settings()))
