"""``snap tag``: other tags for a snapshot."""

import click

from snap.errors import UsageError
from snap.repo.retag import retag

from .options import SnapCommand, tags_of_option
from .output import print_json, print_line
from .session import find_snapshot, lease_for, open_session
from .settings import Settings


def _check_set(
    ctx: click.Context, parameter: click.Parameter, tags: tuple[str, ...]
) -> tuple[str, ...]:
    """Let a single empty tag through: it means none at all."""
    return tags if tags == ("",) else tags_of_option(ctx, parameter, tags)


@click.command(cls=SnapCommand)
@click.argument("snapshot", metavar="SNAP")
@click.option("--add", metavar="T", multiple=True, callback=tags_of_option, help="Add; repeatable.")
@click.option(
    "--remove", metavar="T", multiple=True, callback=tags_of_option, help="Remove; repeatable."
)
@click.option(
    "--set",
    "replacement",
    metavar="T",
    multiple=True,
    callback=_check_set,
    help="Replace all; repeatable; '' for none.",
)
@click.pass_obj
def command(
    settings: Settings,
    *,
    snapshot: str,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    replacement: tuple[str, ...],
) -> int:
    """Change the tags of a snapshot, which gives it a new id; the old one still finds it."""
    if not (add or remove or replacement):
        raise UsageError("nothing to change", "give --add, --remove or --set")
    if replacement and (add or remove):
        raise UsageError("--set excludes --add and --remove")
    with open_session(settings) as repository, lease_for(repository, "tag") as lease:
        former = find_snapshot(repository, settings, snapshot)
        changed = retag(
            repository,
            former,
            lease,
            add=add,
            remove=remove,
            replace_all=[t for t in replacement if t] if replacement else None,
        )
    if settings.json:
        print_json(
            {
                "former_id": former.id.hex(),
                "id": changed.id.hex(),
                "short_id": changed.short_id,
                "tags": list(changed.tags),
            }
        )
    elif not settings.quiet:
        tags = ", ".join(changed.tags) or "no tags"
        unchanged = " (as before)" if changed.id == former.id else f" (was {former.short_id})"
        print_line(f"snapshot {changed.short_id}{unchanged}: {tags}")
    return 0
