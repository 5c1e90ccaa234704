"""Buckets that keep what is deleted: Object Lock with a default retention, and a policy."""

import os
import re
import subprocess
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.cli.conftest import Snap as Cli
from tests.servers.s3 import Bucket, S3Server

from .command import Snap, picture

KIB = 1 << 10


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "same").write_bytes(os.urandom(300 * KIB))
    change(folder)
    return folder


def change(folder: Path) -> None:
    (folder / "changes").write_bytes(os.urandom(600 * KIB))


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    return (done.stdout + done.stderr).decode()


def kinds(bucket: Bucket) -> Counter[str]:
    """Return how many objects of each kind a reader sees."""
    return Counter(key.removeprefix("some/prefix/").split("/")[0] for key in bucket.listed())


class Called(Snap):
    """snap in this process: some fifty commands would else spend a minute on starting Python."""

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment().items():
                patch.setenv(name, value)
            done = Cli(patch)(*arguments)
        return subprocess.CompletedProcess(arguments, done.code, done.raw, done.err.encode())


def remote(bucket: Bucket, tmp_path: Path, *copies: str, name: str = "cache") -> Called:
    """Return snap with its repository in a bucket, and a configuration of its own."""
    config = tmp_path / f"{name}.toml"
    lines = [
        f'repository = "{bucket.url}"',
        'service = "s"',
        f'[sources.data]\nkind = "files"\npath = "{tmp_path}/data"',
        "[rule]\ncopies = 2\nmedia = 2\noffsite = 1",
    ]
    for n, url in enumerate(copies):
        lines.append(f'[copies.copy{n}]\nlocation = "{url}"\nmedia = "m{n}"\noffsite = true')
    config.write_text("\n".join(lines))
    return Called(
        Path(bucket.url), tmp_path / name, url=bucket.url, variables={"SNAP_CONFIG": str(config)}
    )


def test_a_default_retention_breaks_no_command_and_brings_nothing_back(
    s3_user: S3Server, data: Path, tmp_path: Path
) -> None:
    """The server makes delete markers; the versions below them cannot be deleted for two days."""
    with ExitStack() as stack:
        place, copy = (
            stack.enter_context(s3_user.bucket(lock_days=2, mode="COMPLIANCE")) for _ in range(2)
        )
        snap = remote(place, tmp_path, copy.url)

        def quiet(*arguments: str) -> str:
            """Run a command that has nothing to warn of."""
            done = snap.run(*arguments)
            assert (done.returncode, b"warning" in done.stderr) == (0, False), said(done)
            return said(done)

        quiet("init", "--kdf-seconds", "0")
        quiet("init", "-r", "copy0", "--copy-of", "repository")
        assert "old versions" in quiet("check", "--backend")
        quiet("backup")
        change(data)
        quiet("backup")
        quiet("replicate", "--verify")
        quiet("hold", "add", "latest")
        quiet("hold", "remove", "latest")
        quiet("replicate")
        old, new = snap.ids()
        assert snap.ids() == [s["id"] for s in snap.json("snapshots", "-r", "copy0")]
        assert "forgotten" in quiet("forget", "--keep-last", "1", "--prune")
        packs = kinds(place)["data"]
        assert "freed" not in (told := quiet("prune", "--now")), "nothing is"
        assert re.search(r"packs? deleted: the store keeps them as old versions", told)
        assert kinds(place)["data"] < packs
        assert "0 packs deleted" in quiet("prune", "--now"), "once is enough"
        assert snap.ids() == [new]
        quiet("repair")
        assert "healed 0 objects" in quiet("repair", "--from", "copy0"), "what was forgotten is"
        quiet("repair", "-r", "copy0", "--from", "repository")
        quiet("run", "--max-age", "1d")
        assert old not in snap.ids()
        assert len(snap.json("snapshots", "-r", "copy0")) == len(snap.ids()) + 1
        quiet("check", "--read-data")
        quiet("status")
        assert kinds(place)["leases"] == 0
        removed = snap.run("key", "remove", snap.json("key", "add", "--recovery")["id"])
        assert removed.returncode == 0
        assert "old version" in said(removed), "it can still be had"
        quiet("restore", "latest", "--target", str(tmp_path / "out"))
        assert picture(tmp_path / "out/data") == picture(data)
        assert_versions_stay(place)


def assert_versions_stay(bucket: Bucket) -> None:
    """Make sure that the server really keeps what this is about."""
    client = bucket.server.client()
    found = client.list_object_versions(Bucket=bucket.name, Prefix="some/prefix/data/")
    (version, *_) = (one for one in found["Versions"] if not one["IsLatest"])
    asked = {"Bucket": bucket.name, "Key": version["Key"], "VersionId": version["VersionId"]}
    for more in ({}, {"BypassGovernanceRetention": True}):
        with pytest.raises(ClientError) as caught:
            client.delete_object(**asked, **more)
        assert caught.value.response["Error"]["Code"] == "AccessDenied"
    assert client.head_object(**asked)["ObjectLockMode"] == "COMPLIANCE"


def test_deletions_that_are_refused_are_told_and_tried_again_and_nothing_grows(
    bucket: Bucket, data: Path, tmp_path: Path
) -> None:
    snap = remote(bucket, tmp_path)
    snap.init()
    for _ in range(2):
        change(data)
        snap.ok("backup")
    bucket.keep_all()
    told = snap.run("forget", "--keep-last", "1")
    assert (told.returncode, "stays for now" in said(told)) == (3, True), said(told)
    before = kinds(bucket)
    told = snap.run("forget", "--keep-last", "1", "--prune")
    assert (told.returncode, "stays for now" in said(told)) == (3, True), said(told)
    assert len(snap.ids()) == 2
    # What has ended stands in nobody's way, though its lease could not be removed.
    assert "0 packs deleted" in snap.ok("prune", "--now")
    assert not re.search(r"\b0 B in use", snap.ok("prune"))
    assert kinds(bucket) == before | {"leases": kinds(bucket)["leases"]}
    bucket.let_go()
    snap.ok("forget", "--keep-last", "1")
    bucket.keep_all()
    before = Counter[str]()
    for _ in range(3):
        told = snap.run("prune", "--now")
        assert (told.returncode, "a later prune tries again" in said(told)) == (3, True), said(told)
        after = kinds(bucket) - Counter(leases=1000)
        # The first one marks, and writes the index anew.
        assert before in (Counter(), after)
        before = after
    snap.ok("check", "--read-data")
    snap.ok("backup")
    bucket.let_go()
    assert "freed" in snap.ok("prune", "--now")
    assert kinds(bucket)["leases"] == 0
    snap.ok("check", "--read-data")
    snap.ok("restore", "latest", "--target", str(tmp_path / "out"))
    assert picture(tmp_path / "out/data") == picture(data)


def test_a_key_and_a_revision_that_may_not_be_deleted_are_told_to_stay(
    bucket: Bucket, data: Path, tmp_path: Path
) -> None:
    snap = remote(bucket, tmp_path, str(tmp_path / "local"))
    bucket.keep_all()
    made = snap.run("init", "--kdf-seconds", "0")
    assert (made.returncode, "stays for now" in said(made)) == (0, True)
    snap.ok("backup")
    local = Called(tmp_path / "local", tmp_path / "other")
    local.ok("init", "--copy-of", bucket.url)
    local.ok("replicate", "-r", bucket.url, str(tmp_path / "local"))
    local.ok("tag", "latest", "--add", "t")
    for _ in range(2):
        back = local.run("replicate", bucket.url)
        assert (back.returncode, "stays in the copy" in said(back)) == (0, True), said(back)
    assert [s["tags"] for s in snap.json("snapshots")] == [["t"]]
    removed = snap.run("key", "remove", snap.json("key", "add", "--recovery")["id"])
    assert (removed.returncode, "still opens" in said(removed)) == (3, True)
    (tmp_path / "new").write_text("another password")
    changed = snap.run(
        "key", "passwd", "--kdf-seconds", "0", "--new-password-file", str(tmp_path / "new")
    )
    assert (changed.returncode, "still opens" in said(changed)) == (3, True)
    assert len(snap.ids()) == 1
    snap.password = "another password"
    assert len(snap.ids()) == 1
