"""From a home or a container's name, and what the environment says, to Neo4j's sources."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from snap.errors import SourceError

from .neo4j import Neo4jService
from .neo4j_access import DOCKER, Neo4jAccess
from .neo4j_conf import Neo4jConf, parse_settings
from .neo4j_docker import DockerNeo4j
from .neo4j_exchange import StageableServer
from .neo4j_install import Neo4jInstall
from .neo4j_server import Neo4jOptions

_DEFAULT_USER = "neo4j"


def neo4j_service(
    kind: str,
    place: str,
    *,
    name: str | None,
    access: Neo4jAccess,
    state_folder: Path,
    previous: Callable[[str], Mapping[str, Any] | None],
) -> Neo4jService:
    """Return the service at a place; ``neo4j:`` with no place finds the one that is installed.

    Raises:
        SourceError: there is none, or this user may not touch it.
    """
    server: StageableServer
    if kind == DOCKER:
        container = DockerNeo4j(place, url=access.docker_url or None)
        container.require_lasting()
        conf = Neo4jConf(Path("/var/lib/neo4j"), _settings_of(container))
        server, url = container, _bolt_url(container, conf)
        default_name = place
    else:
        install = Neo4jInstall.find(Path(place).expanduser() if place else None)
        server, conf, url = install, install.conf, install.conf.bolt_url
        default_name = install.home.name
    auth = (access.user or _DEFAULT_USER, access.password) if access.password else None
    options = Neo4jOptions(
        kind=kind,
        name=name if name is not None else default_name,
        database=access.database or conf.default_database,
        url=access.url or url,
        auth=auth if conf.is_auth_enabled else None,
        is_open=not conf.is_auth_enabled,
        skip_unchanged=access.skip_unchanged,
        offline=access.offline,
    )
    return Neo4jService(server, options, state_folder=state_folder, previous=previous)


def _settings_of(container: DockerNeo4j) -> Mapping[str, str]:
    files = dict(container.configuration())
    if "neo4j.conf" not in files:
        raise SourceError(f"container {container.place} has no neo4j.conf", "is it a Neo4j server?")
    return parse_settings(files["neo4j.conf"].decode("utf-8", "surrogateescape"))


def _bolt_url(container: DockerNeo4j, conf: Neo4jConf) -> str:
    address = container.bolt_address()
    if address is not None:
        host, port = address
        return f"bolt://{host}:{port}"
    return conf.bolt_url
