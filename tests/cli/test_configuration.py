from pathlib import Path

import pytest

from snap.cli.config_file import ConfigurationError
from snap.cli.configuration import configuration_path, with_configuration
from snap.cli.settings import PasswordKind, PasswordSource, Settings


def test_the_first_place_that_is_there_counts_unless_one_is_named(tmp_path: Path) -> None:
    places = (tmp_path / "a", tmp_path / "b")
    assert configuration_path(Settings(configuration_places=places)) is None
    places[1].touch()
    assert configuration_path(Settings(configuration_places=places)) == places[1]
    places[0].touch()
    assert configuration_path(Settings(configuration_places=places)) == places[0]
    named = Settings(configuration_places=places, configuration_file="c")
    assert configuration_path(named) == Path("c")


def test_one_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        with_configuration(Settings(configuration_file=str(tmp_path / "none")))
    settings = Settings(configuration_places=(tmp_path / "none",))
    assert with_configuration(settings) is settings


def test_a_password_that_was_said_keeps_that_of_the_file_out(tmp_path: Path) -> None:
    path = tmp_path / "snap.toml"
    path.write_text('password_file = "secret"\n')
    settings = Settings(configuration_file=str(path))
    [found] = with_configuration(settings).passwords
    assert (found.kind, found.text) == (PasswordKind.FILE, str(tmp_path / "secret"))
    assert found.origin == f"{path}:1"
    said = PasswordSource(PasswordKind.VALUE, "x", "SNAP_PASSWORD")
    settings = Settings(configuration_file=str(path), passwords=(said,))
    assert with_configuration(settings).passwords == (said,)
