"""Commands and stages in processes that have imported everything already: forks of one that does nothing else.

Importing torch, MLflow and DVC takes seconds, and most of what tests let a command do takes tenths of one. A fork is a
process like any other, with its own environment, folder and exit code, but its code is this repository's, also in a
folder that has a copy of it.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

ROOT = Path(__file__).parents[1]
LAZY = (
    "alembic.config", "diffusers", "dulwich.repo", "dvc.cli.parser", "dvc.repo.index", "dvc.repo.stage",
    "matplotlib.backends.backend_svg", "mlflow.pyfunc", "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.store.tracking.sqlalchemy_workspace_store", "mlflow.tracing.export", "scmrepo.git",
    "sqlalchemy.dialects.sqlite", "stages.harness", "torchmetrics", "typer.rich_utils",
)  # fmt: skip
"""What commands and stages import when they need it, beside this library's own modules."""
SECONDS = 900
"""After these a process is taken to hang."""


def can_fork(command: Sequence[str]) -> bool:
    """Whether a command is one of ours, or DVC's."""
    return command[0] in ("sfddm", "dvc") or " ".join(command).startswith("python -m stages.")


def run(folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command in a folder: its exit code, and what it printed."""
    with NamedTemporaryFile("r", errors="replace") as printed:
        request = {"folder": str(folder), "command": command, "environment": environment, "output": printed.name}
        server = _server()
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        return int(server.stdout.readline()), printed.read()


@cache
def _server() -> "subprocess.Popen[str]":
    """The process that forks; it ends with this one, which holds its standard input."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "tests.forks"]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _import_everything() -> None:
    import sfddm

    for module in pkgutil.walk_packages(sfddm.__path__, "sfddm."):
        importlib.import_module(module.name)
    for name in LAZY:
        importlib.import_module(name)
    gc.freeze()  # no collection touches it, so that forks share it


def _serve() -> None:
    """Fork for every request, one after the other."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(_end_of(_become, **json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


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


def _become(folder: str, command: list[str], environment: dict[str, str], output: str) -> None:
    """Be the process that a command would have started."""
    os.setsid()
    signal.alarm(SECONDS)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream in (1, 2):
        os.dup2(os.open(output, os.O_WRONLY | os.O_APPEND), stream)
    os.environ.clear()
    os.environ.update(environment)
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
    _serve()
    os._exit(0)  # taking all modules apart takes a second
