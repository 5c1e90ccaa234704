"""Profiles for hypothesis, a folder for other users, and the servers that several rooms use."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.chroma import chroma
from tests.servers.docker import real_docker
from tests.servers.neo4j import neo4j_server, running_neo4j
from tests.servers.s3 import bucket, s3, s3_user
from tests.servers.sshd import sshd

__all__ = [
    "bucket",
    "chroma",
    "neo4j_server",
    "open_path",
    "real_docker",
    "running_neo4j",
    "s3",
    "s3_user",
    "sshd",
]

settings.register_profile(
    "quick", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("deep", settings.get_profile("quick"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Give a folder that other users may enter: pytest closes its own, whenever one starts."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)
