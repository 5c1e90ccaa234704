"""Which copies are meant: those that the configuration names, or places."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snap.errors import UsageError

from .config_file import CopyTable
from .settings import Settings


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


def copy_of(settings: Settings, text: str) -> CopyPlace:
    """Return the copy that a configured name or a place means.

    Raises:
        UsageError: it looks like a name, and no copy is called so.
    """
    tables = settings.configuration.copies if settings.configuration is not None else ()
    for table in tables:
        if table.name == text:
            return _place(table)
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


def _place(table: CopyTable) -> CopyPlace:
    return CopyPlace(table.name, table.location, table.media, table.offsite)
