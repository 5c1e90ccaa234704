"""What is found out of a place alone, and what the environment overrides."""

from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.sources.neo4j_access import DOCKER, NATIVE, UNSAID, Neo4jAccess
from snap.sources.neo4j_place import neo4j_service
from tests.servers.docker import RealDocker
from tests.servers.neo4j import RealNeo4j


def nothing(name: str) -> None:
    return None


def test_a_home_tells_name_database_address_and_whether_a_password_is_asked_for(
    neo4j_server: RealNeo4j, tmp_path: Path
) -> None:
    service = neo4j_service(
        NATIVE,
        str(neo4j_server.home),
        name=None,
        access=UNSAID,
        state_folder=tmp_path,
        previous=nothing,
    )
    options = service.options
    assert (options.name, options.database) == ("neo4j-home", "neo4j")
    assert options.url == neo4j_server.url
    assert (options.auth, options.is_open) == (None, False)
    names = [source.name for source in service.sources]
    assert names == ["neo4j-home-system", "neo4j-home", "neo4j-home-configuration"]
    assert [source.kind for source in service.sources] == [NATIVE, NATIVE, "files"]

    neo4j_server.configure("initial.dbms.default_database=graph")
    said = Neo4jAccess(
        user="me", password="secret", url="bolt://elsewhere:1", skip_unchanged=True, offline=True
    )
    service = neo4j_service(
        NATIVE,
        str(neo4j_server.home),
        name="named",
        access=said,
        state_folder=tmp_path,
        previous=nothing,
    )
    options = service.options
    assert (options.name, options.database, options.url) == (
        "named",
        "graph",
        "bolt://elsewhere:1",
    )
    assert (options.auth, options.skip_unchanged) == (("me", "secret"), True)
    assert options.offline


def test_a_container_tells_the_same(real_docker: RealDocker, tmp_path: Path) -> None:
    with real_docker.neo4j_container(password=None) as container:
        container.start()
        name = str(container.container.name)
        service = neo4j_service(
            DOCKER,
            name,
            name=None,
            access=Neo4jAccess(docker_url=real_docker.url, password="unneeded"),
            state_folder=tmp_path,
            previous=nothing,
        )
        options = service.options
        assert (options.name, options.database, options.url) == (name, "neo4j", container.url)
        # Where no password is asked for, none is sent.
        assert (options.auth, options.is_open) == (None, True)


def test_a_place_without_a_server_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no Neo4j"):
        neo4j_service(
            NATIVE,
            str(tmp_path),
            name=None,
            access=UNSAID,
            state_folder=tmp_path,
            previous=nothing,
        )
