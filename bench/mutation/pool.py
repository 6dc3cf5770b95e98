"""Several workers that share tasks."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from bench.mutation.setup import Setup

HERE = Path(__file__).parents[2]
Task = dict[str, Any]
Said = dict[str, Any]


class Worker:
    """`python -m bench.mutation.worker` as a process of its own."""

    def __init__(self, setup: Setup) -> None:
        paths = os.pathsep.join([str(setup.root), str(HERE)])
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        command = [sys.executable, "-m", "bench.mutation.worker", *setup.warm]
        self._process = subprocess.Popen(
            command, cwd=setup.root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def do(self, task: Task) -> Said:
        """What came of a task."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended with {self._process.wait()} while it was at {task}")
        said: Said = json.loads(line)
        if said["ended"] == "broken":
            raise RuntimeError(said["why"])
        return said


def share(setup: Setup, tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Said]]:
    """Each task with what came of it, in the order in which they end."""
    idle: SimpleQueue[Worker] = SimpleQueue()

    def one(task: Task) -> Said:
        worker = idle.get()
        try:
            return worker.do(task)
        finally:
            idle.put(worker)

    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(jobs))
        for _ in range(min(jobs, len(tasks))):
            idle.put(stack.enter_context(Worker(setup)))
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)
        waiting = {threads.submit(one, task): task for task in tasks}
        for done in as_completed(waiting):
            yield waiting[done], done.result()
