"""`sfddm ui` takes a port that is free, and leaves no process and no port behind."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from sfddm.tracking.ui import comparison
from tests.project import Project
from tests.servers import command_lines, free_port, listening_at, printed_links, status


def test_a_port_that_is_in_use_is_named_before_anything_slow(project: Project) -> None:
    """Before MLflow is opened: this project has none yet."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = project.run("sfddm", "ui", "tiny", "--port", str(port), code=2)
    assert refused.startswith(f"error: port {port} is in use") and "--port" in refused
    assert not (project.folder / "mlflow.db").exists()


def test_links_come_when_the_page_answers_and_nothing_is_left_when_it_ends(original: Project) -> None:
    port = free_port()
    with served(original, port) as ui:
        assert set(printed_links(ui)) == {"charts", "comparison", "versions"}
        assert status(port, f"127.0.0.1:{port}") == 200
        assert len(command_lines(f"--port {port}")) == 3
        ui.terminate()
        assert ui.wait(timeout=60) == 128 + signal.SIGTERM
        assert not command_lines(f"--port {port}") and not listening_at(port)


def test_a_server_that_ends_by_itself_is_an_error_that_names_its_output(original: Project) -> None:
    port = free_port()
    with served(original, port) as ui:
        printed_links(ui)
        (server,) = (pid for pid, line in command_lines(f"--port {port}").items() if "uvicorn" in line)
        os.kill(server, signal.SIGKILL)
        assert ui.stdout is not None and "what it printed is in scratch/ui.log" in " ".join(ui.stdout.read().split())
        assert ui.wait(timeout=60) == 2


@contextmanager
def served(project: Project, port: int) -> Iterator["subprocess.Popen[str]"]:
    """`sfddm ui`, and an end to all that it leaves behind."""
    ui = project.start("sfddm", "ui", "tiny", "--port", str(port))
    try:
        yield ui
    finally:
        for pid in command_lines(f"--port {port}"):
            os.kill(pid, signal.SIGKILL)
        ui.communicate()


def test_more_runs_than_a_page_can_show_are_left_to_be_chosen() -> None:
    assert comparison("http://here", "1", ["a"] * 50).startswith("http://here/#/compare-runs?runs=%5B%22a%22%2C%20%22a")
    assert comparison("http://here", "1", ["a"] * 51).startswith("51 runs are too many for one page: on that of the")
