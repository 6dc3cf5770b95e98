"""How much memory there is, and what is said when it runs out."""

import os
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sfddm.errors import UserError

MEMINFO = Path("/proc/meminfo")
"""Linux's own figures."""
OWN_GROUPS, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
"""The control groups that this process is in, and where all of them are."""
FIGURES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    2: ("memory.max", "memory.current", ""),
}
"""For each version of control groups: the files of limit and usage, and the prefix of the page cache's fields."""


def peak_memory_mb(device: str) -> float:
    """MiB of tensors on a `cuda` device; on any other the process's largest resident size, its libraries included."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


RESIDENT = 0.5
"""Share of the free memory, of a GPU or of the machine, that images or trajectories may take."""


def free_memory(device: str) -> int:
    """Bytes that are free on the current `cuda` device, or to this process; all memory where Linux doesn't say."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    found = re.search(r"MemAvailable: +(\d+) kB", MEMINFO.read_text()) if MEMINFO.exists() else None
    there = int(found[1]) * 1024 if found else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([there, *_within_limits()])


def _within_limits() -> Iterator[int]:
    """Bytes that are free in each control group that this process is in and that has a limit, as containers' have.

    A group's page cache counts as free, as it does for the machine.
    """
    for line in OWN_GROUPS.read_text().splitlines() if OWN_GROUPS.exists() else []:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        version = 1 if controllers else 2
        root = GROUPS / "memory" if controllers else GROUPS
        limit, used, prefix = FIGURES[version]
        within = root / path.lstrip("/")
        for folder in (each for each in (within, *within.parents) if each.is_relative_to(root)):
            try:
                most, held = (int((folder / name).read_text()) for name in (limit, used))
            except (OSError, ValueError):  # not there, or without a limit ("max")
                continue
            yield max(most - held + _page_cache(folder / "memory.stat", prefix), 0)


def _page_cache(statistics: Path, prefix: str) -> int:
    try:
        found = re.findall(rf"^{prefix}(?:in)?active_file (\d+)$", statistics.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return sum(map(int, found))


SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "alloc_failed")
"""How torch words it, on a GPU and on a CPU."""
ASKED = re.compile(r"allocate ([\d.]+ ?\w+)")


@contextmanager
def memory_errors(remedy: Callable[[], str]) -> Iterator[None]:
    """Turn running out of memory within the block into an error that a user can act on; `remedy` says what to do.

    Raises:
        UserError: torch or numpy could not get the memory that they asked for.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not any(sign in text.lower() for sign in SIGNS):
            raise
        asked = ASKED.search(text)
        needed = f"{asked[1]} were needed" if asked else "more was needed"
        there = text.partition(". ")[2].partition(" Process")[0] if "CUDA" in text else _on_this_machine()
        raise UserError(f"out of memory: {needed} at once; {there}\n{remedy()}") from error


def _on_this_machine() -> str:
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    free = f"{free_memory('cpu') / 2**20:.0f} MiB are free to this process"
    limited = "" if limit == resource.RLIM_INFINITY else f", its limit is {limit / 2**20:.0f} MiB"
    return f"this process held {held:.0f} MiB at most{limited}; {free}."
