"""Running out of memory: what was asked for, what there was, and what to lower."""

import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sfddm.errors import UserError
from sfddm.memory import free_memory

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
    free = f"{free_memory('cpu') / 2**20:.0f} MiB are free on this machine"
    limited = "" if limit == resource.RLIM_INFINITY else f", its limit is {limit / 2**20:.0f} MiB"
    return f"this process held {held:.0f} MiB at most{limited}; {free}."
