"""Locks between processes that say which process has them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sfddm.errors import UserError
from sfddm.runtime.files import write_text


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock `path` (a name that ends in .lock), waiting for it while another process has it.

    The operating system releases the lock of a process that dies. The number of the process that has it is in a file
    next to it, because taking a lock empties its file.

    Raises:
        UserError: another process holds it, and `wait` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(path), path.with_suffix(".pid")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        pid = holder.read_text(encoding="utf-8") if holder.exists() else "unknown"
        if not wait:
            raise UserError(
                f"process {pid} is doing the same ({path} is locked): look at what it made, then try again."
            ) from None
        print(f"process {pid} is making this: waiting for it to end ({path} is locked)", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        write_text(holder, str(os.getpid()))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
