"""A process that has imported what takes long, and runs tests in its children: `python -m bench.mutation.worker`.

A line of JSON on its standard input is a task, one on its standard output is what came of it. Each task has a child of
its own, which imports the package and its tests anew.
"""

import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, ModuleType
from typing import Any, NoReturn

import pytest
from coverage import Coverage

from bench.mutation.plugins import Guard, Judge, Recorder, allow

MEMORY = 8 * 2**30
"""Bytes that a child may allocate beyond what it starts with: a mutant can ask for any size."""
LARGEST_FILE = 2**30
IMPORTING = 120
"""Seconds of processor time for imports."""
BROKEN = 70
"""The exit code of a child that failed for reasons of its own."""
Task = dict[str, Any]


def main(warm: Sequence[str]) -> None:
    """Do tasks until there are no more."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # to look for plugins takes longer than most tests
    for name in ("_hypothesis_pytestplugin", *warm):
        import_module(name)
    for line in sys.stdin:
        print(json.dumps(do(json.loads(line))), flush=True)


def do(task: Task) -> dict[str, Any]:
    """How the child of a task ended (`survived`, `killed`, `timeout` or `broken`), and what it said."""
    with TemporaryDirectory(prefix="mutation-") as name:
        folder, started = Path(name), time.monotonic()
        child = os.fork()
        if child == 0:
            _run(task, folder)
        ended = _wait(child, started + task["seconds"])
        said = folder / "said.json"
        log = (folder / "log").read_text(errors="replace").strip()[-1000:]
        return {
            "ended": ended, "took": round(time.monotonic() - started, 1), "by": "", "why": log,
            **(json.loads(said.read_text()) if said.exists() else {}),
        }  # fmt: skip


def _wait(child: int, until: float) -> str:
    """How a child ends; it is killed if it hasn't by then, or when this process is interrupted."""
    ended = ""
    try:
        while not ended and time.monotonic() < until:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                ended = _ending(os.waitstatus_to_exitcode(status))
            else:
                time.sleep(0.01)
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return ended or "timeout"


def _ending(code: int) -> str:
    if code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return "survived"
    return {BROKEN: "broken", -signal.SIGXCPU: "timeout"}.get(code, "killed")


def _run(task: Task, folder: Path) -> NoReturn:
    """Be the child of a task."""
    code = BROKEN
    try:
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
        _limit()
        code, said = _record(task, folder) if "targets" in task else _judge(task, folder)
        (folder / "said.json").write_text(json.dumps(said))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _limit() -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for kind, most in ((resource.RLIMIT_AS, held + MEMORY), (resource.RLIMIT_FSIZE, LARGEST_FILE)):
        resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))
    allow(IMPORTING)


def _record(task: Task, folder: Path) -> tuple[int, dict[str, Any]]:
    """Run a file of tests, and say which of them pass, how long they take, and which lines of the targets they run."""
    coverage = Coverage(data_file=None, config_file=False, include=task["targets"])
    coverage.set_option("run:core", "ctrace")  # the only one that can change contexts in the middle
    recorder = Recorder(coverage, task["package"])
    coverage.start()
    code = _pytest(recorder, folder, "-m", task["marker"], task["file"])
    coverage.stop()
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"pytest ended with {code} on {task['file']}")
    lines = recorder.lines()
    passed = {name: seconds for name, seconds in recorder.seconds.items() if name not in recorder.failed}
    return code, {"seconds": passed, "failed": recorder.failed, "lines": lines}


def _judge(task: Task, folder: Path) -> tuple[int, dict[str, Any]]:
    """Run tests with one module mutated, until one fails."""
    judge = Judge([(name, seconds) for name, seconds in task["tests"]])
    sys.meta_path.insert(0, Mutated(task["path"], task["source"]))
    files = dict.fromkeys(name.partition("::")[0] for name, _ in task["tests"])
    code = _pytest(judge, folder, "--exitfirst", *files)
    return code, {"by": judge.by, "why": judge.why} if judge.by else {}


def _pytest(plugin: Guard, folder: Path, *arguments: str) -> int:
    fixed = (
        "--quiet",
        "--rootdir=.",
        "-p",
        "no:cacheprovider",
        "-p",
        "_hypothesis_pytestplugin",
        "--hypothesis-seed=0",
    )
    return int(pytest.main([*fixed, f"--basetemp={folder / 'tests'}", *arguments], plugins=[plugin]))


class Mutated(MetaPathFinder):
    """Finds one module, whose file has other contents."""

    def __init__(self, path: str, source: str) -> None:
        self._path, self._source = path, source
        self._name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def find_spec(self, name: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        """Where to load the module from; None for every other."""
        if name != self._name:
            return None
        location = Path(self._path).resolve()
        return spec_from_file_location(name, location, loader=_Loader(name, str(location), self._source))


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec", dont_inherit=True)


if __name__ == "__main__":
    main(sys.argv[1:])
