"""Which copies are meant: those that the configuration names, or places."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snap.errors import UsageError

from .settings import Settings

if TYPE_CHECKING:
    from .config_file import CopyTable

REPOSITORY = "repository"
"""What the configured repository is called among its copies."""


@dataclass(frozen=True, slots=True)
class CopyPlace:
    """A copy by its name, which is its location where it is not configured."""

    name: str
    location: str
    media: str
    is_offsite: bool


def configured_copies(settings: Settings) -> list[CopyPlace]:
    """Return the copies that the configuration names, but for the repository in use itself."""
    found = settings.configuration
    tables = found.copies if found is not None else ()
    return [_place(table) for table in tables if table.location != settings.repository]


def chosen_copies(settings: Settings, names: Sequence[str]) -> list[CopyPlace]:
    """Return the copies that are meant: those named, each once, or all that are configured.

    Raises:
        UsageError: neither a configured name nor a place, or there are none.
    """
    if names:
        return [copy_of(settings, name) for name in dict.fromkeys(names)]
    copies = configured_copies(settings)
    if not copies:
        raise UsageError(
            "no copy is configured",
            "name a place, or write a table [copies.NAME] into snap.toml (snap config example)",
        )
    return copies


copy_option = click.option(
    "--copy",
    "copies",
    metavar="COPY",
    multiple=True,
    help="Take from here what the repository lacks; repeatable.  [default: all configured]",
)
"""For commands that fall back to copies; `fallback_copies` says what was meant."""


def fallback_copies(settings: Settings, names: Sequence[str]) -> list[CopyPlace]:
    """Return the copies that are asked for what the repository does not have whole.

    Where a copy is in use as the repository, the configured repository is one of them.

    Raises:
        UsageError: one that was named is neither a configured name nor a place.
    """
    if names:
        return chosen_copies(settings, names)
    found, own = settings.configuration, _configured_repository(settings)
    if found is None:
        return []
    copies = configured_copies(settings)
    if own is None or own.location == settings.repository:
        return copies
    if settings.repository not in {table.location for table in found.copies}:
        # The copies are those of another repository than the one that is in use.
        return []
    return [own, *copies]


def copies_beside(settings: Settings) -> list[CopyPlace]:
    """Return all places of what is backed up but for the one in use.

    Where a copy is in use, the configured repository is one of them.
    """
    found, own = settings.configuration, _configured_repository(settings)
    copies = configured_copies(settings)
    tables = found.copies if found is not None else ()
    is_copy = any(table.location == settings.repository for table in tables)
    if own is None or not is_copy or own.location == settings.repository:
        return copies
    return [own, *copies]


def place_in_use(settings: Settings) -> CopyPlace:
    """Return the repository in use, which may be one of the copies, with what is said of it."""
    found, location = settings.configuration, settings.repository or ""
    for table in found.copies if found is not None else ():
        if table.location == location:
            return _place(table)
    values = found.values if found is not None else {}
    media = values.get("media", media_of(location))
    return CopyPlace(REPOSITORY, location, media, values.get("offsite", False))


def _configured_repository(settings: Settings) -> CopyPlace | None:
    found = settings.configuration
    if found is None or "repository" not in found.values:
        return None
    location = found.location_of(found.values["repository"])
    media = found.values.get("media", media_of(location))
    return CopyPlace(REPOSITORY, location, media, found.values.get("offsite", False))


def copy_of(settings: Settings, text: str) -> CopyPlace:
    """Return the copy that a configured name or a place means.

    Where a copy is in use, ``repository`` means the configured repository.

    Raises:
        UsageError: it looks like a name, and no copy is called so.
    """
    tables = settings.configuration.copies if settings.configuration is not None else ()
    for table in tables:
        if table.name == text:
            return _place(table)
    own = _configured_repository(settings)
    if text == REPOSITORY and own is not None and own.location != settings.repository:
        return own
    is_place = "/" in text or text.startswith((".", "~")) or Path(text).exists()
    if not is_place:
        near = difflib.get_close_matches(text, [t.name for t in tables], 1)
        known = f"known are {', '.join(t.name for t in tables)}" if tables else "none is configured"
        hint = f"did you mean {near[0]!r}?" if near else f"{known}; a folder is written ./{text}"
        raise UsageError(f"no copy {text!r}", hint)
    for table in tables:
        if table.location == text:
            return _place(table)
    return CopyPlace(text, text, media_of(text), is_offsite=False)


def place_of(settings: Settings, text: str) -> str:
    """Return the location that a configured name or a place means."""
    return copy_of(settings, text).location


def media_of(location: str) -> str:
    """Return what a place that nothing is said of lies on."""
    scheme, separator, _ = location.partition("://")
    return scheme if separator and scheme != "file" else "disk"


def _place(table: "CopyTable") -> CopyPlace:
    return CopyPlace(table.name, table.location, table.media, table.offsite)
