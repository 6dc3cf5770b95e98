"""Finding the processes of stages, and waiting for what they do."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")
STAGES = (
    "data tiny",
    "scorer tiny convolutional",
    "scorer tiny pixels",
    "teacher tiny",
    "reference tiny",
    "distill tiny ddim-t4 0",
    "distill tiny ours-t4 0",
    "evaluate tiny ddim-t4 0",
    "evaluate tiny ours-t4 0",
    "track tiny",
    "report tiny",
)
"""tiny's stages: their modules and arguments."""


def wait_for(look: Callable[[], Found | None], what: str, seconds: float = 240, pause: float = 0.02) -> Found:
    """Look until something is there, with a pause of so many seconds after each look."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(pause)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def stages_in(folder: Path) -> Iterator[tuple[int, str]]:
    """Number and command line of the stages that run in a folder."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (path / "cmdline").read_bytes().decode().split("\0")
            of_a_stage = "-m" in arguments[1:3] and any(argument.startswith("stages.") for argument in arguments[2:4])
            if of_a_stage and (path / "cwd").resolve() == folder.resolve():
                yield int(path.name), " ".join(arguments)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue


def wait_for_stage(folder: Path, words: str) -> int:
    """The number of the process of a stage, once it runs."""
    return wait_for(lambda: next((pid for pid, command in stages_in(folder) if words in command), None), words)


def wait_until_gone(pid: int) -> None:
    """Wait for a process to end that is not our child."""
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), f"process {pid} to end")


def iterations_kept(folder: Path, name: str) -> int:
    """The number of the newest checkpoint of a training in a clone, 0 where there is none."""
    kept = (folder / "scratch" / "checkpoints" / name).glob("*/[0-9]*")
    return max((int(path.name.partition("-")[0]) for path in kept), default=0)


def kill_group(pid: int, number: int) -> None:
    """Send a signal to a process that leads a group, and to all that it started."""
    os.killpg(pid, number)
