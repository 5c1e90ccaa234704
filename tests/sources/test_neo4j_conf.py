import os
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.sources.neo4j_conf import Neo4jConf, parse_settings

HOME = Path("/opt/neo4j")


def conf_of(text: str) -> Neo4jConf:
    return Neo4jConf(HOME, parse_settings(text))


def test_without_settings_all_is_below_home() -> None:
    conf = conf_of("# server.directories.data=/elsewhere\n\n")
    assert conf.data_folders() == (HOME / "data/databases", HOME / "data/transactions")
    assert conf.folder("plugins") == HOME / "plugins"
    assert conf.bolt_url == "bolt://localhost:7687"
    assert conf.default_database == "neo4j"
    assert conf.is_auth_enabled
    assert not conf.has_commands


def test_folders_names_and_password_are_read() -> None:
    conf = conf_of(
        " server.directories.data = /var/lib/neo4j/data \n"
        "server.directories.transaction.logs.root=/fast/tx\n"
        "server.directories.plugins=more plugins\n"
        "initial.dbms.default_database=shop\n"
        "dbms.security.auth_enabled=False\n"
    )
    assert conf.data_folders() == (Path("/var/lib/neo4j/data/databases"), Path("/fast/tx"))
    assert conf.folder("plugins") == HOME / "more plugins"
    assert conf.default_database == "shop"
    assert not conf.is_auth_enabled


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("server.bolt.listen_address=:7777", "bolt://localhost:7777"),
        ("server.bolt.listen_address=0.0.0.0:7777", "bolt://127.0.0.1:7777"),
        ("server.bolt.listen_address=[::]:7777", "bolt://127.0.0.1:7777"),
        ("server.default_listen_address=0.0.0.0", "bolt://127.0.0.1:7687"),
        ("server.default_listen_address=10.1.2.3", "bolt://10.1.2.3:7687"),
        (
            "server.default_listen_address=0.0.0.0\nserver.bolt.listen_address=10.1.2.3:1",
            "bolt://10.1.2.3:1",
        ),
    ],
)
def test_the_address_is_one_that_can_be_reached_from_here(text: str, url: str) -> None:
    assert conf_of(text).bolt_url == url


def test_a_path_made_by_a_command_is_refused() -> None:
    conf = conf_of("server.directories.data=$(cat /etc/where)")
    assert conf.has_commands
    with pytest.raises(SourceError, match=r"made by a command: \$\(cat /etc/where\)"):
        conf.data_folders()


def test_a_folder_without_a_configuration_is_one_of_defaults(tmp_path: Path) -> None:
    assert Neo4jConf.read(HOME, tmp_path) == Neo4jConf(HOME, {})


def test_a_configuration_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "neo4j.conf")
    with pytest.raises(SourceError, match=r"neo4j\.conf: Is a directory"):
        Neo4jConf.read(HOME, tmp_path)
