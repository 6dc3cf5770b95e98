"""One process that takes itself for one of several."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from torch import distributed


def one_of(monkeypatch: pytest.MonkeyPatch, rank: int, count: int) -> None:
    """Let this process take itself for number `rank` of `count`."""
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("RANK", str(rank)), ("WORLD_SIZE", str(count))):
        monkeypatch.setenv(name, value)


@contextmanager
def group_of_itself() -> Iterator[None]:
    """Within the block this process can send to all processes of its group, which it is alone in."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()
