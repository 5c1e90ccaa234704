"""What the environment and the global options say, as one value.

The only module that reads the environment. Order: option after the command, option before it,
environment, ``snap.toml`` (`snap.cli.configuration`), default.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snap.backends.throttle import Limits
from snap.errors import UsageError

if TYPE_CHECKING:
    from .config_file import Configuration


class PasswordKind(StrEnum):
    """Where a password comes from."""

    VALUE = "value"
    FILE = "file"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class PasswordSource:
    """One place that gives the password; ``origin`` is what people know it by."""

    kind: PasswordKind
    text: str
    origin: str


_SERVER_VARIABLES = ("NEO4J_USERNAME", "NEO4J_PASSWORD", "NEO4J_URI", "DOCKER_HOST")
"""Of the programs whose servers are backed up; they go by the same names there."""
_PASSWORD_VARIABLES = {
    "SNAP_PASSWORD": PasswordKind.VALUE,
    "SNAP_PASSWORD_FILE": PasswordKind.FILE,
    "SNAP_PASSWORD_COMMAND": PasswordKind.COMMAND,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What every command knows.

    Attributes:
        repository: Location of the repository, None where nothing says it.
        passwords: Where the password may come from; more than one is an error when it is needed.
        json: Print JSON for programs instead of tables for people.
        quiet: Print nothing but results that were asked for, and errors.
        verbosity: How many times ``-v`` was given.
        cache: Whether the local cache is kept; without, it lives in a temporary folder.
        cache_folder: Given by option or environment.
        default_cache_folder: Used otherwise, None where no home folder is known.
        configuration_file: Of ``--config`` or the environment; it has to be there.
        configuration_places: Where it is looked for otherwise, the first that is there counts.
        configuration: What it says, once it was read.
        upload_limit: The most bytes a second that are written to the repository.
        download_limit: The most that are read from it.
        origins: What gave a field its value, by the field's name.
    """

    repository: str | None = None
    passwords: tuple[PasswordSource, ...] = ()
    json: bool = False
    quiet: bool = False
    verbosity: int = 0
    cache: bool = True
    cache_folder: Path | None = None
    default_cache_folder: Path | None = None
    state_folder: Path | None = None
    server_variables: tuple[tuple[str, str], ...] = ()
    configuration_file: str | None = None
    configuration_places: tuple[Path, ...] = ()
    configuration: "Configuration | None" = None
    origins: tuple[tuple[str, str], ...] = ()
    upload_limit: float | None = None
    download_limit: float | None = None

    def origin(self, name: str) -> str:
        """Return what gave the field of this name, for people; empty for a default."""
        return dict(self.origins).get(name, "")

    @property
    def limits(self) -> Limits:
        """Return how fast the repository may be written to and read."""
        return Limits(self.upload_limit, self.download_limit)

    @property
    def state_dir(self) -> Path:
        """Return the folder for what must outlive a run, as that a server was stopped."""
        return self.state_folder or self._cache_root / "state"

    @property
    def spool_dir(self) -> Path:
        """Return the folder for copies of databases while they are being backed up."""
        return self._cache_root / "spool"

    @property
    def cache_dir(self) -> Path | None:
        """Return the folder for cache files, None where none is to be kept."""
        return self._cache_root if self.cache else None

    @property
    def _cache_root(self) -> Path:
        folder = self.cache_folder or self.default_cache_folder
        if folder is None:
            raise UsageError(
                "no folder for the cache: neither HOME nor XDG_CACHE_HOME is set",
                "give one with --cache-dir or SNAP_CACHE_DIR",
            )
        return folder


def settings_from_environment(environment: Mapping[str, str]) -> Settings:
    """Return what the environment says; an empty variable counts as not set.

    ``SNAP_PASSWORD`` is the exception: set and empty, it is an empty password, which is refused.
    """
    passwords = tuple(
        PasswordSource(kind, environment[name], name)
        for name, kind in _PASSWORD_VARIABLES.items()
        if environment.get(name) or (name == "SNAP_PASSWORD" and name in environment)
    )
    cache_folder = environment.get("SNAP_CACHE_DIR")
    return Settings(
        repository=environment.get("SNAP_REPOSITORY") or None,
        passwords=passwords,
        cache_folder=Path(cache_folder) if cache_folder else None,
        default_cache_folder=_default_cache_folder(environment),
        configuration_file=environment.get("SNAP_CONFIG") or None,
        configuration_places=_configuration_places(environment),
        origins=tuple(
            (field, name)
            for field, name in (
                ("repository", "SNAP_REPOSITORY"),
                ("cache_folder", "SNAP_CACHE_DIR"),
                ("configuration_file", "SNAP_CONFIG"),
            )
            if environment.get(name)
        ),
        state_folder=_state_folder(environment),
        server_variables=tuple(
            (name, environment[name]) for name in _SERVER_VARIABLES if environment.get(name)
        ),
    )


def _configuration_places(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the user's place and the system's.

    Not the working folder: what it has there may be somebody else's, and names programs to run.
    """
    base, home = environment.get("XDG_CONFIG_HOME", ""), environment.get("HOME", "")
    own = Path(base) if base.startswith("/") else Path(home) / ".config" if home else None
    folders = [own, Path("/etc")] if own is not None else [Path("/etc")]
    return tuple(folder / "snap" / "snap.toml" for folder in folders)


def _state_folder(environment: Mapping[str, str]) -> Path | None:
    if environment.get("SNAP_STATE_DIR"):
        return Path(environment["SNAP_STATE_DIR"])
    base = environment.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "snap"
    home = environment.get("HOME", "")
    return Path(home) / ".local" / "state" / "snap" if home else None


def _default_cache_folder(environment: Mapping[str, str]) -> Path | None:
    base = environment.get("XDG_CACHE_HOME", "")
    if base.startswith("/"):  # the XDG specification: a relative one is to be ignored
        return Path(base) / "snap"
    home = environment.get("HOME", "")
    return Path(home) / ".cache" / "snap" if home else None


def apply_options(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """Return the settings with the global options that were given at one place put over them.

    Raises:
        UsageError: a password file and a password command at once.
    """
    changes: dict[str, Any] = {}
    passwords = tuple(
        PasswordSource(kind, options[name], f"--{name.replace('_', '-')}")
        for name, kind in (
            ("password_file", PasswordKind.FILE),
            ("password_command", PasswordKind.COMMAND),
        )
        if options.get(name) is not None
    )
    if len(passwords) > 1:
        raise UsageError("--password-file and --password-command exclude each other")
    if passwords:
        changes["passwords"] = passwords
    origins = dict(settings.origins)
    if options.get("repo") is not None:
        changes["repository"], origins["repository"] = options["repo"], "--repo"
    if options.get("cache_dir") is not None:
        changes["cache_folder"] = Path(options["cache_dir"])
        origins["cache_folder"] = "--cache-dir"
    if options.get("config") is not None:
        changes["configuration_file"] = options["config"]
        origins["configuration_file"] = "--config"
    changes["origins"] = tuple(origins.items())
    if options.get("verbose"):
        changes["verbosity"] = options["verbose"]
    for option, field in (
        ("json", "json"),
        ("quiet", "quiet"),
        ("limit_upload", "upload_limit"),
        ("limit_download", "download_limit"),
    ):
        if options.get(option):
            changes[field] = options[option]
    if options.get("no_cache"):
        changes["cache"] = False
    return replace(settings, **changes)
