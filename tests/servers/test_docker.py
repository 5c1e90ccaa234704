import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.servers.docker import RealDocker
from tests.servers.services import runs


def test_a_server_in_a_container_answers_and_stops_cleanly(real_docker: RealDocker) -> None:
    with real_docker.neo4j_container() as server:
        server.start()
        assert server.is_running()
        server.run("CREATE (:Person {name: 'Ada'})")
        assert server.run("MATCH (n) RETURN count(n) AS count") == [{"count": 1}]
        server.stop()
        assert not server.is_running()
        # 143: ended by SIGTERM, as Java says it.
        assert server.container.wait()["StatusCode"] in (0, 143)
        # Dumped as in the official image: where zstd cannot be loaded, it would be gzip.
        dump = real_docker.client.containers.create(
            server.container.image or "",
            ["database", "dump", "neo4j", "--to-path=/tmp"],
            entrypoint="neo4j-admin",
            user="7474:7474",
            volumes_from=[str(server.container.id)],
            network_mode="none",
        )
        dump.start()
        assert dump.wait()["StatusCode"] == 0, dump.logs()
        archive = b"".join(dump.get_archive("/tmp/neo4j.dump")[0])
        assert archive[512:516] == b"DZV1"


def test_the_image_is_laid_out_like_the_official_one(real_docker: RealDocker) -> None:
    image_id = real_docker.neo4j_image()
    image = real_docker.client.images.get(image_id)
    configuration = image.attrs["Config"]
    assert set(configuration["Volumes"]) == {"/data", "/logs"}
    assert "NEO4J_HOME=/var/lib/neo4j" in configuration["Env"]
    assert configuration["WorkingDir"] == "/var/lib/neo4j"
    out = real_docker.client.containers.run(
        image_id,
        ["-c", "readlink /var/lib/neo4j/data; stat -c '%u:%g' /data /logs; id -u neo4j"],
        entrypoint="/bin/bash",
        network_mode="none",
        remove=True,
    )
    assert out.decode().split() == ["/data", "7474:7474", "7474:7474", "7474"]


def test_the_entry_point_prints_to_standard_output(real_docker: RealDocker) -> None:
    out = real_docker.client.containers.run(
        real_docker.neo4j_image(), ["id", "-u"], network_mode="none", remove=True
    )
    lines = out.decode().splitlines()
    assert lines[0].startswith("Warning: Folder mounted")
    assert lines[-1] == "7474"


_LEFT = """
import time
from tests.servers.docker import docker_daemon
with docker_daemon() as daemon:
    print(daemon.url.removeprefix("unix://"), flush=True)
    time.sleep(600)
"""


def test_no_daemon_outlives_a_test_run_that_was_killed(real_docker: RealDocker) -> None:
    assert real_docker.client.ping()
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", _LEFT],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": root},
    ) as run:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().decode().strip()).parent
        pid = int((folder / "pid").read_text())
        assert Path(f"/proc/{pid}").exists()
        run.send_signal(signal.SIGKILL)
    # It gets a minute to end by itself.
    limit = time.monotonic() + 180
    while folder.exists() or runs(pid):
        assert time.monotonic() < limit
        time.sleep(0.1)
