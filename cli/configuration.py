"""The configuration as the lowest layer of the settings."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .settings import PasswordKind, PasswordSource, Settings

if TYPE_CHECKING:
    from .config_file import Configuration


def configuration_path(settings: Settings) -> Path | None:
    """Return the configuration that counts, None where there is none."""
    if settings.configuration_file is not None:
        return Path(settings.configuration_file).expanduser()
    return next((path for path in settings.configuration_places if path.exists()), None)


def with_configuration(settings: Settings) -> Settings:
    """Return the settings with what the configuration says where nothing else did.

    Raises:
        ConfigurationError: it is not there though it was named, or something in it is wrong.
    """
    path = configuration_path(settings)
    if path is None:
        return settings
    # Its parser takes as long to load as some commands take.
    from .config_file import read_configuration  # noqa: PLC0415 - as said

    return _under(settings, read_configuration(path))


def _under(settings: Settings, found: "Configuration") -> Settings:
    values = found.values
    changes: dict[str, Any] = {"configuration": found}
    origins = dict(settings.origins)
    if settings.repository is None and "repository" in values:
        changes["repository"] = found.location_of(values["repository"])
        origins["repository"] = found.origin("repository")
    for copy in found.copies:
        # -r takes the name of a copy as well; a folder of that name is ./name.
        if settings.repository == copy.name:
            changes["repository"] = copy.location
    if settings.cache_folder is None and "cache_dir" in values:
        changes["cache_folder"] = Path(found.path_of(values["cache_dir"]))
        origins["cache_folder"] = found.origin("cache_dir")
    if not settings.passwords:
        changes["passwords"] = tuple(passwords(found, values))
    return replace(settings, origins=tuple(origins.items()), **changes)


def passwords(found: "Configuration", values: Any, *above: str) -> tuple[PasswordSource, ...]:
    """Return where a table of the configuration says that a password comes from."""
    named = []
    if "password_file" in values:
        text = found.path_of(values["password_file"])
        origin = found.origin(*above, "password_file")
        named.append(PasswordSource(PasswordKind.FILE, text, origin))
    if "password_command" in values:
        origin = found.origin(*above, "password_command")
        named.append(PasswordSource(PasswordKind.COMMAND, values["password_command"], origin))
    return tuple(named)
