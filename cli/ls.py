"""``snap ls``: what is in a snapshot."""

import stat
from collections.abc import Iterator, Sequence

import click

from snap.repo.browse import find_node, require_tree, resolve_path, walk
from snap.repo.repository import Repository
from snap.repo.snapshot import FAILED, Snapshot
from snap.repo.source import NodeType
from snap.repo.tree import Node

from .losses import Gaps
from .options import SnapCommand
from .output import print_json, print_line, print_warning, shown_path
from .records import node_record
from .session import find_snapshot, open_session, split_selector
from .settings import Settings
from .times import local_time

Listing = Iterator[tuple[str, tuple[bytes, ...], Node]]

_TYPE_BITS = {
    NodeType.FILE: stat.S_IFREG,
    NodeType.DIR: stat.S_IFDIR,
    NodeType.SYMLINK: stat.S_IFLNK,
    NodeType.FIFO: stat.S_IFIFO,
    NodeType.SOCKET: stat.S_IFSOCK,
    NodeType.CHARDEV: stat.S_IFCHR,
    NodeType.BLOCKDEV: stat.S_IFBLK,
}


@click.command(cls=SnapCommand)
@click.argument("snapshot", metavar="SNAP[:COMPONENT[/PATH]]")
@click.option("-l", "--long", "long_format", is_flag=True, help="With mode, owner, size, time.")
@click.pass_obj
def command(settings: Settings, *, snapshot: str, long_format: bool) -> int:
    """List what is in a snapshot.

    SNAP is an id or its beginning, 'latest', or @2026-11-01[T02:00]: the last one not after it.
    """
    selector, place = split_selector(snapshot)
    with open_session(settings) as repository:
        chosen = find_snapshot(repository, settings, selector, place)
        gaps = Gaps(settings)
        for component, path, node in _listing(repository, chosen, place, settings, gaps):
            if settings.json:
                print_json({"message_type": "node", **node_record(component, path, node)})
            elif long_format:
                print_line(long_line(component, path, node))
            else:
                print_line(shown_path(component, path))
    return gaps.exit_code


def _listing(
    repository: Repository, snapshot: Snapshot, place: str, settings: Settings, gaps: Gaps
) -> Listing:
    if place:
        component, path = resolve_path(snapshot, place)
        require_tree(snapshot, component)
        if path:
            find_node(repository, snapshot, component, path)
        return walk(repository, snapshot, component, path, gaps.tell)
    for part in snapshot.components:
        if part.status == FAILED:
            print_warning(
                f"component {part.name} failed in this snapshot: {part.error}",
                as_json=settings.json,
            )
    return walk(repository, snapshot, lost=gaps.tell)


def long_line(component: str, path: Sequence[bytes], node: Node) -> str:
    """Return an entry as ``ls -l`` shows it, in columns of set width."""
    a = node.attributes
    mode = stat.filemode(_TYPE_BITS[node.type] | a.mode)
    owner = f"{a.user or a.uid} {a.group or a.gid}"
    size = "" if node.content is None else str(node.content.size_bytes)
    line = f"{mode} {owner:<17} {size:>12} {local_time(a.mtime_ns)} {shown_path(component, path)}"
    if node.type is NodeType.SYMLINK:
        line += f" -> {node.target.decode('utf-8', 'surrogateescape')}"
    return line
