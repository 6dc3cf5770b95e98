"""A PostgreSQL, an S3 server and an MLflow server between them, each on 127.0.0.1."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.test_security import free_port

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
"""Of the local S3 server, which takes any."""


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

    address = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", address.rpartition(":")[2]]
    with _running(command, address, {}):
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
    address = f"http://127.0.0.1:{port or free_port()}"
    names = address.removeprefix("http://")
    command = [sys.executable, "-m", "mlflow", "server", "--artifacts-destination", destination, "--host", "127.0.0.1",
               "--allowed-hosts", names,
               "--port", address.rpartition(":")[2], "--workers", "1"]  # fmt: skip
    with _running(command, f"{address}/health", {"MLFLOW_BACKEND_STORE_URI": database, **environment}):
        yield address


@contextmanager
def _running(command: list[str], address: str, environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        _wait(process, address)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait(process: "subprocess.Popen[bytes]", address: str) -> None:
    for _ in range(600):
        assert process.poll() is None, "the server ended"
        try:
            urlopen(address, timeout=10).close()
            return
        except (URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"nothing answers at {address}")
