"""Memory: the most that this process has held (measured, so never the same twice), and what is free."""

import os
import re
import resource
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
"""Linux's own figures."""


def peak_memory_mb(device: str) -> float:
    """MiB of tensors on a `cuda` device; on any other the process's largest resident size, its libraries included."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def free_memory(device: str) -> int:
    """Bytes that are free on the current `cuda` device, or on this machine; all of them where it doesn't say."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    found = re.search(r"MemAvailable: +(\d+) kB", MEMINFO.read_text()) if MEMINFO.exists() else None
    return int(found[1]) * 1024 if found else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
