from pathlib import Path

import pytest

from snap.cli.settings import PasswordKind, Settings, apply_options, settings_from_environment
from snap.errors import UsageError

NOTHING_SAID = Settings(configuration_places=(Path("/etc/snap/snap.toml"),))


def test_an_empty_environment_says_nothing() -> None:
    settings = settings_from_environment({})
    assert settings == NOTHING_SAID


def test_the_configuration_is_the_users_or_the_systems_never_the_working_folders() -> None:
    own = settings_from_environment({"HOME": "/home/me"}).configuration_places
    assert own == (Path("/home/me/.config/snap/snap.toml"), Path("/etc/snap/snap.toml"))
    moved = settings_from_environment({"HOME": "/home/me", "XDG_CONFIG_HOME": "/c"})
    assert moved.configuration_places[0] == Path("/c/snap/snap.toml")
    assert settings_from_environment({"SNAP_CONFIG": "x"}).configuration_file == "x"


def test_the_environment_is_read() -> None:
    settings = settings_from_environment(
        {"SNAP_REPOSITORY": "/r", "SNAP_PASSWORD_FILE": "/p", "SNAP_CACHE_DIR": "/c"}
    )
    assert settings.repository == "/r"
    assert [(s.kind, s.text) for s in settings.passwords] == [(PasswordKind.FILE, "/p")]
    assert settings.cache_dir == Path("/c")
    assert settings.spool_dir == Path("/c/spool")


def test_an_empty_variable_counts_as_not_set_but_for_the_password() -> None:
    names = ("SNAP_REPOSITORY", "SNAP_PASSWORD_FILE", "SNAP_PASSWORD_COMMAND", "SNAP_CACHE_DIR")
    assert settings_from_environment(dict.fromkeys(names, "")) == NOTHING_SAID
    assert settings_from_environment({"SNAP_PASSWORD": ""}).passwords[0].text == ""


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/snap"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/snap"),
        ({"HOME": "/h"}, "/h/.cache/snap"),
        ({"HOME": "/h", "SNAP_CACHE_DIR": "/c"}, "/c"),
    ],
)
def test_the_cache_has_its_usual_place(environment: dict[str, str], folder: str) -> None:
    assert settings_from_environment(environment).cache_dir == Path(folder)


def test_without_a_home_the_cache_needs_a_place() -> None:
    with pytest.raises(UsageError, match="no folder for the cache"):
        _ = Settings().cache_dir


def test_without_a_cache_the_spool_stays_where_it_is() -> None:
    settings = apply_options(settings_from_environment({"HOME": "/h"}), {"no_cache": True})
    assert settings.cache_dir is None
    assert settings.spool_dir == Path("/h/.cache/snap/spool")


def test_options_are_put_over_what_was_there() -> None:
    settings = apply_options(Settings(repository="a"), {"repo": "b", "json": True, "verbose": 2})
    assert (settings.repository, settings.json, settings.verbosity) == ("b", True, 2)


def test_options_that_were_not_given_change_nothing() -> None:
    before = Settings(repository="a", json=True, quiet=True, verbosity=1, cache=False)
    not_given = {"repo": None, "json": False, "quiet": False, "verbose": 0, "no_cache": False}
    assert apply_options(before, not_given) == before


def test_a_password_option_silences_the_variables() -> None:
    before = settings_from_environment({"SNAP_PASSWORD": "x", "SNAP_PASSWORD_FILE": "y"})
    after = apply_options(before, {"password_command": "pass snap"})
    assert [s.origin for s in after.passwords] == ["--password-command"]


def test_both_password_options_in_one_place_are_refused() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        apply_options(Settings(), {"password_file": "a", "password_command": "b"})
