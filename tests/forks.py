"""Commands and stages in processes that have imported everything already: forks of one that does nothing else.

Importing torch, MLflow and DVC takes seconds, and most of what tests let a command do takes tenths of one. A fork is a
process like any other, with its own environment, folder and exit code, but its code is this repository's, also in a
folder that has a copy of it.

Stages that DVC starts are forks as well, where the environment has what `for_stages` adds: `python` is then a script
that has them forked (`tests.fork_client`).
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile, mkdtemp
from typing import Any

from attrs import evolve, frozen

from tests.fork_client import ADDRESS, REFUSED

ROOT = Path(__file__).parents[1]
LAZY = (
    "alembic.config", "diffusers", "dulwich.repo", "dvc.cli.parser", "dvc.repo.index", "dvc.repo.stage",
    "matplotlib.backends.backend_svg", "mlflow.pyfunc", "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.store.tracking.sqlalchemy_workspace_store", "mlflow.tracing.export", "scmrepo.git", "sklearn.datasets",
    "sqlalchemy.dialects.sqlite", "stages.harness", "torchmetrics", "typer.rich_utils",
)  # fmt: skip
"""What commands and stages import when they need it, beside this library's own modules."""
OF_INTERPRETERS = ("PYTHONPATH", "PYTHONHASHSEED", "LC_ALL", "TZ")
"""Variables that an interpreter reads at its start: for each choice of them another one forks."""
OF_TORCH = ("ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "MKL_CBWR")
"""Variables that torch and what it calls read once, beside ATEN_CPU_CAPABILITY."""
Interpreter = tuple[tuple[str, str], ...]
"""The variables of one, and their values."""
LISTENS = "listens\n"
"""What a process that forks says when it can."""
SECONDS = 900
"""After these a process is taken to hang."""


def can_fork(command: Sequence[str]) -> bool:
    """Whether a command is one of ours, or DVC's."""
    return command[0] in ("sfddm", "dvc") or " ".join(command).startswith("python -m stages.")


def run(folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command in a folder: its exit code, and what it printed."""
    with NamedTemporaryFile("r", errors="replace") as printed:
        request = {"folder": str(folder), "command": command, "environment": environment, "output": printed.name}
        server = _server(_interpreter(os.environ))
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        return int(server.stdout.readline()), printed.read()


def for_stages(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which `python -m stages.NAME` is a fork of an interpreter as that environment asks for."""
    interpreter = _interpreter(environment)
    _server(interpreter)
    folder = _folder(interpreter)
    path = f"{folder / 'bin'}{os.pathsep}{environment['PATH']}"
    return {**environment, "PATH": path, ADDRESS: str(folder / "socket")}


def _interpreter(environment: Mapping[str, str]) -> Interpreter:
    return tuple((name, environment[name]) for name in OF_INTERPRETERS if name in environment)


@cache
def _server(interpreter: Interpreter) -> "subprocess.Popen[str]":
    """The process that forks; it ends with this one, which holds its standard input."""
    other = {name: text for name, text in os.environ.items() if name not in OF_INTERPRETERS}
    environment = {**other, **dict(interpreter), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "tests.forks", str(_folder(interpreter) / "socket")]
    server = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None and server.stdout.readline() == LISTENS
    return server


@cache
def _folder(interpreter: Interpreter) -> Path:
    """A folder with a server's address and, under the name `python`, the script that asks it for stages."""
    folder = Path(mkdtemp(prefix="sfddm-forks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    script = folder / "bin" / "python"
    script.parent.mkdir()
    client = f"exec '{sys.executable}' -I -S '{ROOT / 'tests' / 'fork_client.py'}' '{sys.executable}' \"$@\""
    script.write_text(f"#!/bin/sh\n{client}\n")
    script.chmod(0o755)
    return folder


def _import_everything() -> None:
    import sfddm

    for module in pkgutil.walk_packages(sfddm.__path__, "sfddm."):
        importlib.import_module(module.name)
    for name in LAZY:
        importlib.import_module(name)
    gc.freeze()  # no collection touches it, so that forks share it


def _serve(address: str) -> None:
    """Fork for every request: of the tests' process, one after the other, and of stages, side by side."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        print(LISTENS, end="", flush=True)
        running: dict[int, Child] = {}
        while True:
            asked = {child.asked_by: child for child in running.values() if child.asked_by and not child.given_up}
            ready, _, _ = select.select([sys.stdin, listening, *running, *asked], [], [])
            for each in ready:
                if each in asked:  # what asked is gone, and DVC has not waited for its stage
                    signal.pidfd_send_signal(asked[each].process, signal.SIGKILL)
                    with suppress(ProcessLookupError):  # it has no group of its own yet
                        os.killpg(asked[each].number, signal.SIGKILL)
                    running[asked[each].process] = evolve(asked[each], given_up=True)
            for each in running.keys() & set(ready):
                running.pop(each).tell()
            if listening in ready and (child := _answered(listening.accept()[0])):
                running[child.process] = child
            if sys.stdin in ready:
                if not (line := sys.stdin.readline()):
                    return
                child = _forked(json.loads(line))
                running[child.process] = child


@frozen
class Child:
    """A fork that works."""

    number: int
    process: int
    """Its file descriptor."""
    asked_by: socket.socket | None
    """Who waits for it; None for the tests' process."""
    given_up: bool = False
    """Whether nobody waits any longer."""

    def tell(self) -> None:
        """Say how it ended."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])
        os.close(self.process)
        if self.asked_by is None:
            print(code, flush=True)
        else:
            with self.asked_by, suppress(BrokenPipeError, ConnectionResetError):
                self.asked_by.sendall(str(code).encode())


def _answered(asking: socket.socket) -> Child | None:
    """The fork for a stage that was asked for; None where it is refused, or what asked is gone already."""
    size, streams, _, _ = socket.recv_fds(asking, 8, 3)
    text, part = b"", b"..."
    while part and len(text) < int.from_bytes(size):
        part = asking.recv(2**16)
        text += part
    if part and streams and _computes_as_here((request := json.loads(text))["environment"]):
        return _forked({**request, "streams": streams}, asking)
    for stream in streams:
        os.close(stream)
    with asking, suppress(BrokenPipeError, ConnectionResetError):
        asking.sendall(REFUSED)
    return None


def _computes_as_here(environment: Mapping[str, str]) -> bool:
    """Whether a process with this environment would use what this one's torch uses of the processor."""
    import torch

    here = torch.backends.cpu.get_cpu_capability().lower()
    same = all(environment.get(name) == os.environ.get(name) for name in OF_TORCH)
    return same and environment.get("ATEN_CPU_CAPABILITY", here) == here


def _forked(request: dict[str, Any], asked_by: socket.socket | None = None) -> Child:
    child = os.fork()
    if not child:
        os._exit(_end_of(_become, **request))
    for stream in request.get("streams", ()):
        os.close(stream)
    return Child(child, os.pidfd_open(child), asked_by)


def _end_of(work: Callable[..., None], **arguments: Any) -> int:
    """Do some work and what an interpreter does at its end, but for taking all modules apart; the exit code."""
    code: Any = None
    try:
        work(**arguments)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def _become(
    folder: str, command: list[str], environment: dict[str, str], output: str = "", streams: Sequence[int] = ()
) -> None:
    """Be the process that a command would have started, which prints to a file or has three streams of its own."""
    os.setsid()
    signal.alarm(SECONDS)
    appended = os.O_WRONLY | os.O_APPEND
    opened = streams or [os.open(os.devnull, os.O_RDONLY), os.open(output, appended), os.open(output, appended)]
    for number, stream in enumerate(opened):
        os.dup2(stream, number)
    os.environ.clear()
    os.environ.update(environment)
    if ADDRESS in environment:  # what puts its own interpreter first has stages forked, too
        sys.executable = str(Path(environment[ADDRESS]).parent / "bin" / "python")
    os.chdir(folder)
    program, *arguments = command
    sys.argv = command
    if program == "sfddm":
        from sfddm.cli import main

        main()
    elif program == "dvc":
        from dvc.cli import main as dvc

        sys.exit(dvc(arguments))
    else:
        sys.argv = command[2:]
        runpy.run_module(command[2], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _import_everything()
    _serve(sys.argv[1])
    os._exit(0)  # taking all modules apart takes a second
