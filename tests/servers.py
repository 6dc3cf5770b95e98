"""A PostgreSQL, an S3 server and an MLflow server between them, each on 127.0.0.1."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
"""For the local S3 server, which takes any."""
WITHOUT_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""The environment of an MLflow server that starts no processes for jobs: each of them imports all of MLflow."""


def free_port() -> int:
    """A port of this machine that nobody listens to."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def status(port: int, host: str, path: str = "/health") -> int:
    """What a server of this machine answers to a browser that calls it by a name."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()


def wait_until_it_answers(process: "subprocess.Popen[Any]", port: int) -> None:
    """Wait for a server that has been started."""
    for _ in range(3000):
        assert process.poll() is None, process.communicate()[0]
        try:
            status(port, f"127.0.0.1:{port}")
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server does not answer")


def printed_links(process: "subprocess.Popen[str]") -> dict[str, str]:
    """The links that `sfddm ui` prints as soon as the page answers."""
    assert process.stdout is not None
    found: dict[str, str] = {}
    for line in process.stdout:
        name, _, link = line.strip().partition(": ")
        if link.startswith("http"):
            found[name] = link
        elif found:
            return found
    raise AssertionError("sfddm ui ended without links")


def stop(process: "subprocess.Popen[Any]") -> Any:
    """End a server with all that it started; what it printed."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        return process.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]


def listening_at(port: int) -> set[str]:
    """The local addresses, as the kernel writes them, at which somebody listens to a port."""
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    lines = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    listening = [fields[1] for fields in lines if fields[3] == "0A"]
    return {address.rpartition(":")[0] for address in listening if int(address.rpartition(":")[2], 16) == port}


def command_lines(words: str) -> dict[int, str]:
    """Those with these words of all of this machine's processes, as everyone on it can read them, by their numbers."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return {pid: line for pid, line in found.items() if words in line}


def postgresql_programs() -> Path:
    """Where Debian's PostgreSQL has its programs; tests that need it are skipped where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL here: `apt-get install postgresql` lets this test start one")
    return found[-1].parent


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of an empty database."""
    programs, port = postgresql_programs(), free_port()
    with TemporaryDirectory() as name:  # of a short name: a socket lies in it
        user = _unprivileged(Path(name))
        data = Path(name) / "data"
        make = [*user, programs / "initdb", "--pgdata", data, "--username=mlflow", "--auth=trust", "--no-sync"]
        subprocess.run(make, check=True, cwd=name, stdout=subprocess.DEVNULL)
        options = f"-h 127.0.0.1 -p {port} -k {name} -c fsync=off"
        control = [*user, programs / "pg_ctl", "--pgdata", data, "--wait", "--log", f"{name}/log"]
        subprocess.run([*control, "-o", options, "start"], check=True, cwd=name, stdout=subprocess.DEVNULL)
        try:
            yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, cwd=name, stdout=subprocess.DEVNULL)


def _unprivileged(folder: Path) -> list[str]:
    """How to start PostgreSQL, which refuses to run as root: as the user that Debian's package made for it."""
    if os.getuid() != 0:
        return []
    shutil.chown(folder, "postgres", "postgres")
    return ["runuser", "-u", "postgres", "--"]


@contextmanager
def s3(bucket: str) -> Iterator[str]:
    """The address of a local S3 server that has one empty bucket."""
    import boto3

    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with _running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port, {}):
        client = boto3.client(
            "s3", endpoint_url=address, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        )
        client.create_bucket(Bucket=bucket)
        yield address


@contextmanager
def mlflow_server(
    database: str, destination: str, environment: dict[str, str], port: int | None = None
) -> Iterator[str]:
    """The address of an MLflow server on a database, whose artifacts go through it to `destination`."""
    port = port or free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--artifacts-destination", destination, "--host", "127.0.0.1",
               "--allowed-hosts", f"127.0.0.1:{port}", "--port", str(port), "--workers", "1"]  # fmt: skip
    with _running(command, port, {"MLFLOW_BACKEND_STORE_URI": database, **WITHOUT_JOBS, **environment}):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        wait_until_it_answers(process, port)
        yield
    finally:
        stop(process)
