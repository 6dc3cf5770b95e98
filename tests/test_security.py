"""What is served and what is stored: nobody else's pages get in, and no secret gets out."""

import base64
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from sfddm.networks.layout import WEIGHTS
from sfddm.tracking.server import without_secrets
from tests.project import ROOT, Project
from tests.servers import WITHOUT_JOBS, command_lines, free_port, listening_at, status, stop, wait_until_it_answers

SECRET = "-".join(("pa$$word", "planted", "here"))
"""Not written out: the copied repository, this file too, is searched for it."""
LOGIN = f"somebody:{quote(SECRET)}"
PLANTED = {
    **dict.fromkeys(("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "HF_TOKEN"), SECRET),
    "MLFLOW_TRACKING_USERNAME": "somebody",
}
"""The environment of a machine with secrets."""
TRACES = [SECRET, quote(SECRET), base64.b64encode(f"somebody:{SECRET}".encode()).decode()]
"""As it stands in the environment, in an address and in a request's header."""


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sqlite:////home/x/mlflow.db", "sqlite:////home/x/mlflow.db"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000/"),
        (f"https://{LOGIN}@example.org:5000/x", "https://example.org:5000/x"),
        (f"postgresql+psycopg2://{LOGIN}@db/mlflow", "postgresql+psycopg2://db/mlflow"),
        (f"mysql://somebody:a@b/{quote(SECRET)}@db/mlflow", "mysql://db/mlflow"),
        (f"postgresql://db/mlflow?user=somebody&password={quote(SECRET)}", "postgresql://db/mlflow"),
        (f"to https://{LOGIN}@example.org/api?token={SECRET} failed", "to https://example.org/api failed"),
    ],
)
def test_an_address_is_shown_without_what_opens_it(address: str, shown: str) -> None:
    assert without_secrets(address) == shown


def test_every_requirement_is_pinned_by_hash_and_no_index_is_named() -> None:
    text = (ROOT / "requirements.lock").read_text()
    entries = [entry.split() for entry in text.replace("\\\n", " ").splitlines()]
    assert len(entries) > 100
    for entry in entries:
        pinned, hashes = entry[0], [part for part in entry if part.startswith("--hash=")]
        assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z0-9,-]+\])?==[A-Za-z0-9.+!_-]+", pinned), entry
        assert hashes and all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", part) for part in hashes), pinned
    assert not re.search(r"https?:|file:|--(extra-)?index-url|--find-links|--trusted-host|^-[a-z] | @ ", text, re.M)


def test_the_pages_are_for_this_machine_alone(original: Project) -> None:
    port = free_port()
    opened = {
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "MLFLOW_HOST": "0.0.0.0",
        "MLFLOW_UVICORN_OPTS": "--host 0.0.0.0",
    }
    served = original.start("sfddm", "ui", "tiny", "--port", str(port), **opened)
    try:
        wait_until_it_answers(served, port)
        assert listening_at(port) == {"0100007F"}
        for path in ("/", "/health", "/api/2.0/mlflow/experiments/search?max_results=1"):
            assert status(port, f"127.0.0.1:{port}", path) == status(port, f"localhost:{port}", path) == 200
        for host in ("evil.example", f"evil.example:{port}", f"192.168.1.5:{port}", f"127.0.0.1.evil.example:{port}"):
            assert status(port, host, "/") == 403
            assert status(port, host, "/api/2.0/mlflow/experiments/search?max_results=1") == 403
        commands = command_lines(f"--port {port}").values()
        assert len(commands) == 3, "ours, MLflow's and the server's"
        assert not any("sqlite" in command for command in commands), "a database's address can be a secret"
    finally:
        stop(served)


@pytest.fixture
def remote(project: Project, tmp_path: Path) -> Project:
    """A copy of the project in which git and DVC know remotes with a password in their addresses."""
    made = project.copy(tmp_path / "clone")
    made.run("git", "add", "--all")
    made.run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "first")
    made.run("git", "remote", "add", "origin", f"https://{LOGIN}@example.org/x.git")
    made.run("dvc", "remote", "add", "--default", "store", f"https://{LOGIN}@example.org/store")
    return made


def test_no_secret_reaches_any_output(remote: Project) -> None:
    port = free_port()
    address = {"MLFLOW_TRACKING_URI": f"http://{LOGIN}@127.0.0.1:{port}"}
    stored = "--backend-store-uri sqlite:///server.db --artifacts-destination served"
    served = f"exec mlflow server {stored} --host 127.0.0.1 --port {port} --workers 1 > server.log 2>&1"
    server = remote.start("sh", "-c", served, **WITHOUT_JOBS)  # its log is more than a pipe holds
    try:
        wait_until_it_answers(server, port)
        printed = [
            remote.run("python", "-m", "stages.distill", "tiny", "ours-t4", "0", **PLANTED, **address),
            remote.run("python", "-m", "stages.track", "tiny", **PLANTED, **address),
            remote.run("python", "-m", "stages.report", "tiny", **PLANTED, **address),
        ]
    finally:
        stop(server)
    assert "POST /api/" in (remote.folder / "server.log").read_text()
    printed.append(remote.run("python", "-m", "stages.track", "tiny", code=2, **PLANTED, **address))
    assert "does not answer" in printed[-1]
    stored_files = [path.name for path in (remote.folder / "served").rglob("*")]
    assert WEIGHTS in stored_files, "\n".join([*printed, *stored_files])
    planted = {remote.folder / ".git" / "config", remote.folder / ".dvc" / "config"}
    files = [path for path in remote.folder.rglob("*") if path.is_file() and path not in planted]
    contents = {str(path): path.read_bytes() for path in files}
    contents |= {f"printed {position}": text.encode() for position, text in enumerate(printed)}
    assert len(contents) > 100
    for trace in TRACES:
        assert [name for name, content in contents.items() if trace.encode() in content] == []
