"""A root file system laid out like Neo4j's official image, made of this machine's own files."""

import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

from tests.servers.neo4j import SETTINGS, VERSION, neo4j_home
from tests.servers.services import made_once

USER = 7474
"""The number of user and group `neo4j` in the official image."""

_PROGRAMS = (
    "bash",
    "cat",
    "chmod",
    "chown",
    "cp",
    "date",
    "dirname",
    "env",
    "find",
    "grep",
    "head",
    "id",
    "ls",
    "mkdir",
    "mv",
    "readlink",
    "rm",
    "sed",
    "sh",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tar",
    "test",
    "touch",
    "tr",
    "true",
    "setpriv",
)
_NOT_NEEDED = ("jmods", "docs", "include", "man", "demo", "legal", "src.zip", "lib/src.zip")

CHANGES = [
    f'ENV NEO4J_HOME=/var/lib/neo4j NEO4J_EDITION=community NEO4J_VERSION="{VERSION}"',
    "ENV JAVA_HOME=/opt/java PATH=/var/lib/neo4j/bin:/opt/java/bin:/usr/bin:/bin",
    "WORKDIR /var/lib/neo4j",
    "VOLUME /data /logs",
    'ENTRYPOINT ["/startup/docker-entrypoint.sh"]',
    'CMD ["neo4j"]',
]

# Like the official one it starts as root, prints to standard output, gives /data to neo4j, writes
# the settings of its environment into the container's own neo4j.conf, and goes on as neo4j.
_ENTRYPOINT = """#!/bin/bash
set -eu
echo "Warning: Folder mounted to /data is looked at by the entry point"
conf=/var/lib/neo4j/conf/neo4j.conf
if [ -d /conf ]; then cp /conf/* /var/lib/neo4j/conf/; fi
if [ "$(id -u)" = 0 ]; then chown -R 7474:7474 /data /logs /var/lib/neo4j/conf; fi
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid 7474 --regid 7474 --clear-groups "$@"
       else "$@"; fi; }
setting() { sed -i "/^$1=/d" $conf; echo "$1=$2" >> $conf; }
case "${NEO4J_AUTH:-}" in
    none) setting dbms.security.auth_enabled false ;;
    neo4j/*) as neo4j-admin dbms set-initial-password "${NEO4J_AUTH#neo4j/}" || true ;;
esac
for name in $(env | grep -o '^NEO4J_[a-z][A-Za-z0-9_]*' || true); do
    key=$(echo "${name#NEO4J_}" | sed 's/__/%/g; s/_/./g; s/%/_/g')
    setting "$key" "${!name}"
done
if [ "${1:-neo4j}" = neo4j ]; then set -- neo4j console; fi
if [ "$(id -u)" = 0 ]; then exec setpriv --reuid 7474 --regid 7474 --clear-groups "$@"; fi
exec "$@"
"""


def neo4j_image() -> Path:
    """Return the tar file of the root file system, made once a machine."""
    home = neo4j_home()
    return made_once(f"neo4j-image-{VERSION}-2", lambda folder: _make(folder, home)) / "root.tar"


def _make(folder: Path, home: Path) -> None:
    java = Path(os.path.realpath(shutil.which("java") or "java")).parent.parent
    with tarfile.open(folder / "root.tar", "w") as archive:
        image = _Image(archive)
        for name in ("tmp", "data", "logs", "var/lib/neo4j"):
            image.add_folder(name, mode=0o1777 if name == "tmp" else 0o755)
        image.add_text("etc/passwd", f"root:x:0:0::/root:/bin/sh\nneo4j:x:{USER}:{USER}::/:/bin/sh")
        image.add_text("etc/group", f"root:x:0:\nneo4j:x:{USER}:")
        image.add_text("startup/docker-entrypoint.sh", _ENTRYPOINT, mode=0o755)
        _add_programs(image, java)
        for name in ("bin", "lib"):
            image.add_tree(home / name, f"var/lib/neo4j/{name}")
        for name in ("conf", "plugins", "run", "import", "licenses", "certificates"):
            image.add_folder(f"var/lib/neo4j/{name}")
        # In the host's network, and no private one, it must not be reachable from elsewhere.
        settings = SETTINGS.format(address="127.0.0.1", port=7687, auth="true")
        image.add_text("var/lib/neo4j/conf/neo4j.conf", settings)
        image.add_link("var/lib/neo4j/data", "/data")
        image.add_link("var/lib/neo4j/logs", "/logs")


def _add_programs(image: "_Image", java: Path) -> None:
    programs = [Path(found) for name in _PROGRAMS if (found := shutil.which(name))]
    for program in programs:
        image.add_file(program, f"usr/bin/{program.name}")
    image.add_link("bin", "usr/bin")
    image.add_tree(java, "opt/java", _NOT_NEEDED)
    libraries = [path for path in (java / "lib").rglob("*.so")]
    for needed in _libraries([*programs, java / "bin/java", *libraries]):
        image.add_file(needed, str(needed).lstrip("/"))
        if needed.name == "libc.so.6":
            # Named by nothing here, but by the library that Neo4j's dumps are compressed with.
            for name in ("libpthread.so.0", "libdl.so.2", "librt.so.1"):
                if (path := needed.with_name(name)).exists():
                    image.add_file(path, str(path).lstrip("/"))


def _libraries(programs: Iterable[Path]) -> list[Path]:
    """Return the shared libraries that the programs name, the loader among them."""
    done = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False)
    found = re.findall(r"^\s+(?:\S+ => )?(/\S+) \(0x", done.stdout, re.MULTILINE)
    return [Path(name) for name in sorted(set(found)) if "/jvm/" not in name]


class _Image:
    """Adds to a tar; what belongs to neo4j is told by its path."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._names: set[str] = set()

    def add_file(self, path: Path, name: str) -> None:
        # Through links: the image holds files only.
        if name not in self._names:
            with open(os.path.realpath(path), "rb") as file:
                found = os.fstat(file.fileno())
                entry = self._entry(name, tarfile.REGTYPE, found.st_mode & 0o777)
                entry.size = found.st_size
                self._archive.addfile(entry, file)

    def add_tree(self, folder: Path, name: str, but: tuple[str, ...] = ()) -> None:
        for path in sorted(folder.rglob("*")):
            inner = path.relative_to(folder).as_posix()
            if path.is_file() and not any((inner + "/").startswith(f"{no}/") for no in but):
                self.add_file(path, f"{name}/{inner}")

    def add_text(self, name: str, text: str, mode: int = 0o644) -> None:
        data = text.encode()
        entry = self._entry(name, tarfile.REGTYPE, mode)
        entry.size = len(data)
        self._archive.addfile(entry, io.BytesIO(data))

    def add_folder(self, name: str, mode: int = 0o755) -> None:
        self._archive.addfile(self._entry(name, tarfile.DIRTYPE, mode))

    def add_link(self, name: str, target: str) -> None:
        entry = self._entry(name, tarfile.SYMTYPE, 0o777)
        entry.linkname = target
        self._archive.addfile(entry)

    def _entry(self, name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        self._names.add(name)
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = kind, mode
        if name.startswith(("data", "logs", "var/lib/neo4j")):
            entry.uid = entry.gid = USER
        return entry
