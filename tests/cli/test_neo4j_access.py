"""Users, passwords and addresses come from what Neo4j's and Docker's own programs read."""

from pathlib import Path

from snap.cli.config_file import read_configuration
from snap.cli.neo4j_access import access_to, neo4j_access
from snap.cli.settings import Settings


def test_what_the_environment_says_is_the_access() -> None:
    said = (("NEO4J_USERNAME", "eve"), ("NEO4J_PASSWORD", "p"), ("DOCKER_HOST", "unix:///d"))
    access = neo4j_access(Settings(server_variables=said), database="shop")
    assert (access.user, access.password, access.url) == ("eve", "p", "")
    assert (access.docker_url, access.database) == ("unix:///d", "shop")


def test_nothing_said_is_nothing_known() -> None:
    assert not any(neo4j_access(Settings()))


def test_a_configured_server_is_reached_as_configured_also_for_a_restore(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from file\n")
    path = tmp_path / "snap.toml"
    path.write_text(
        '[sources.graph]\nkind = "neo4j"\nhome = "graph"\npassword_file = "secret"\n'
        '[sources.boxed]\nkind = "neo4j-docker"\ncontainer = "box"\nusername = "me"\n'
        "offline = true\n"
    )
    settings = Settings(
        configuration=read_configuration(path), server_variables=(("NEO4J_PASSWORD", "other"),)
    )
    found = access_to(settings, "neo4j", str(tmp_path / "graph"), database="d")
    assert (found.password, found.database) == ("from file", "d")
    assert access_to(settings, "neo4j", "/elsewhere").password == "other"
    boxed = access_to(settings, "neo4j-docker", "box")
    assert (boxed.user, boxed.password) == ("me", "other")
    assert (boxed.offline, found.offline) == (True, False)
