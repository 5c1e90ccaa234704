"""What cannot be set here is a warning, and what leads elsewhere is refused."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from snap.errors import TargetError
from snap.repo.source import Attributes, NodeType
from snap.repo.target import TargetEntry
from snap.sources.folder import FolderTarget


def mine(**more: object) -> Attributes:
    return Attributes(mode=0o600, uid=os.getuid(), gid=os.getgid(), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0])
def test_files_get_their_modes_whatever_the_mask(tmp_path: Path, mask: int) -> None:
    modes = (0o644, 0o666, 0o600, 0o444, 0, 0o4755, 0o1777)
    before = os.umask(mask)
    try:
        target = FolderTarget(tmp_path / "t")
        for mode in modes:
            entry = TargetEntry((b"%o" % mode,), NodeType.FILE, mine()._replace(mode=mode), 1)
            target.check_file(entry)
            target.write_file(entry, b"x")
        assert target.finish() == []
    finally:
        os.umask(before)
    found = [stat.S_IMODE((tmp_path / f"t/{mode:o}").stat().st_mode) for mode in modes]
    assert found == list(modes)


@pytest.mark.parametrize("link_to", [(), (b"..", b"outside"), (b"/etc/passwd",)])
def test_a_hard_link_to_something_outside_is_refused(
    tmp_path: Path, link_to: tuple[bytes, ...]
) -> None:
    target = FolderTarget(tmp_path / "t")
    with pytest.raises(TargetError, match="elsewhere"):
        target.make(TargetEntry((b"f",), NodeType.FILE, mine(), link_to=link_to))
    target.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_hard_link_to_what_was_not_restored_is_an_error(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "t")
    with pytest.raises(TargetError, match="No such file"):
        target.make(TargetEntry((b"f",), NodeType.FILE, mine(), link_to=(b"gone",)))
    target.abort()
    assert list(tmp_path.iterdir()) == []


def test_extended_attributes_are_set_and_refused_ones_are_warned_of(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "t")
    wrong = (b"system.posix_acl_access", b"no access list")
    attributes = mine(xattrs=(wrong, (b"user.a", b"1\0\xff")))
    file = TargetEntry((b"f",), NodeType.FILE, attributes, 1)
    target.check_file(file)
    target.write_file(file, b"x")
    (warning,) = target.finish()
    assert "f: attribute system.posix_acl_access could not be set" in warning
    assert os.getxattr(tmp_path / "t/f", "user.a") == b"1\0\xff"


def test_a_socket_is_not_made_and_that_is_told(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "t")
    target.make(TargetEntry((b"s",), NodeType.SOCKET, mine()))
    (warning,) = target.finish()
    assert warning.startswith("s: sockets")
    assert list((tmp_path / "t").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make devices")
def test_a_device_is_made_again_with_its_numbers(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "t")
    attributes = mine(rdev=os.makedev(1, 3))
    target.make(TargetEntry((b"null",), NodeType.CHARDEV, attributes))
    try:
        target.finish()
    except TargetError as error:
        pytest.skip(f"devices cannot be made here: {error}")
    found = (tmp_path / "t/null").stat()
    assert stat.S_ISCHR(found.st_mode)
    assert found.st_rdev == os.makedev(1, 3)


def test_an_owner_that_a_user_namespace_does_not_know_is_a_warning(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from snap.repo.source import Attributes, NodeType\n"
        "from snap.repo.target import TargetEntry\n"
        "from snap.sources.folder import FolderTarget\n"
        "target = FolderTarget(Path(sys.argv[1]))\n"
        "attributes = Attributes(mode=0o4755, uid=4242, gid=4242)\n"
        "file = TargetEntry((b'f',), NodeType.FILE, attributes)\n"
        "target.check_file(file)\n"
        "target.complete_file(file)\n"
        "print(*target.finish(), sep='|')\n"
    )
    inside = ["unshare", "--user", "--map-root-user"]
    probe = subprocess.run([*inside, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"there are no user namespaces here: {probe.stderr.strip()}")
    done = subprocess.run(
        [*inside, sys.executable, "-c", script, str(tmp_path / "t")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "owner of 1 entries" in done.stdout, done.stderr
    assert stat.S_IMODE((tmp_path / "t/f").stat().st_mode) == 0o755
