"""SIGINT and SIGTERM: a training ends its iteration and writes a checkpoint first; all else ends where it is."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal asked this process to end. No `Exception`: only the end of the program catches it."""

    def __init__(self, number: int, kept: str = "nothing was left half-written") -> None:
        super().__init__(f"ended by {signal.Signals(number).name}: {kept}; `dvc repro` goes on from there.")
        self.exit_code = 128 + number
        """What shells and schedulers take for an end by that signal."""


def interrupt(number: int, _: object = None) -> None:
    """A signal handler. Raises: Interrupted: always."""
    raise Interrupted(number)


@contextmanager
def postponed() -> Iterator[Callable[[], int | None]]:
    """Within the block a signal does not end the process: the callable says which one came, for the block to end.

    A second SIGINT ends it all the same. Outside the main thread, where signals never arrive, nothing is changed.

    Raises:
        Interrupted: a signal came, and the block ended well without raising it itself.
    """
    received: list[int] = []

    def note(number: int, _: object) -> None:
        if number == signal.SIGINT and signal.SIGINT in received:
            interrupt(number)
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        interrupt(received[0])
