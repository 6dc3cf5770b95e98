"""Several processes that work on one training or one set of images together, under torchrun.

All of them run the same stage. Each draws the randomness of whole batches and takes its own rows, so that a batch is
the same however many share it; sums of gradients and losses pass between them. Process 0 leads: it alone writes.
A process that was started without torchrun is alone, leads, and takes everything.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sfddm.errors import UserError
from sfddm.runtime.machine import PARTS, device

if TYPE_CHECKING:
    from torch import Tensor


NUMBER = "SFDDM_NPROC"
"""The variable that says how many processes of this machine a stage uses."""
LAUNCHED = "TORCHELASTIC_RUN_ID"
"""Set by torchrun, with RANK and the like, which other programs set as well."""
SLURM = "SFDDM_SLURM"
"""The variable that has a stage queued with SLURM; its text is options of sbatch."""
TASKS = "SLURM_STEP_NUM_TASKS"
"""How many processes `srun` has started, which know nothing of each other."""
PATIENCE = timedelta(days=1)
"""For others: process 0 may wait for a lock, or write for long. One that dies is noticed at once."""
GPUS_PATIENCE = timedelta(minutes=10)
"""For others' gradients: when these are due, nobody is writing or waiting for a lock."""
_gpus: Any = None
"""The processes' GPUs, where they have some: between these gradients pass, and all else between hosts."""
_part = 0
"""The part of its rows that this process is at."""
Job = TypeVar("Job")
Result = TypeVar("Result")


def launched() -> bool:
    """Whether torchrun started this process."""
    return LAUNCHED in os.environ


def refuse_tasks() -> None:
    """Raises: UserError: SLURM's `srun` started several of this process, each of which would do the whole work."""
    if not launched() and int(os.environ.get(TASKS, "1")) > 1:
        raise UserError(
            f"srun started {os.environ[TASKS]} tasks, and each of them would do all of the work. Start one "
            "(--ntasks=1) with SFDDM_NPROC as the number of GPUs; on several machines one each "
            "(--ntasks-per-node=1), of `python -m torch.distributed.run`. SFDDM_SLURM does it for you: docs/gpu.md."
        )


def rank() -> int:
    """The number of this process among those that work together."""
    return int(os.environ["RANK"]) if launched() else 0


def world_size() -> int:
    """How many processes work together."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def is_main() -> bool:
    """Whether this process writes, shows progress and tracks."""
    return rank() == 0


def requested() -> int:
    """How many processes of this machine SFDDM_NPROC asks for, 1 by default.

    Raises:
        UserError: no whole number from 1, or more than there are GPUs, or processors where no GPU is used.
    """
    number = _whole(NUMBER, "processes")
    if number > 1:
        _check_room(number)
    return number


def parts() -> int:
    """In how many parts SFDDM_PARTS has each process go through its rows, 1 by default.

    Raises:
        UserError: no whole number from 1.
    """
    return _whole(PARTS, "parts of a batch")


def _whole(variable: str, what: str) -> int:
    text = os.environ.get(variable, "1")
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{variable} is {text!r}: expected a whole number of {what}, 1 or more.")
    return int(text)


def each_part() -> Iterator[None]:
    """Go through the parts of this process's rows: what `own_rows` says changes from one to the next."""
    global _part
    try:
        for _part in range(parts()):
            yield
    finally:
        _part = 0


def available(on_gpu: bool) -> int:
    """How many processes this machine has GPUs for, or processors."""
    if not on_gpu:
        return len(os.sched_getaffinity(0))
    import torch

    return torch.cuda.device_count()


def _check_room(number: int) -> None:
    on_gpu = device().type == "cuda"
    there = available(on_gpu)
    if number > there:
        what = "CUDA devices" if on_gpu else "processors"
        raise UserError(f"{number} processes are asked for ({NUMBER}), and this machine has {there} {what}: lower it.")


@contextmanager
def process_group() -> Iterator[None]:
    """Within the block the processes that torchrun started can reach each other; alone, nothing happens.

    Raises:
        UserError: there are more processes than GPUs or processors, or they don't find each other.
    """
    if world_size() == 1:
        yield
        return
    import torch
    from torch import distributed

    _check_room(int(os.environ["LOCAL_WORLD_SIZE"]))
    on_gpu = device().type == "cuda"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    global _gpus
    with _losing_others():
        distributed.init_process_group("gloo", timeout=PATIENCE)
        _gpus = distributed.new_group(backend="nccl", timeout=GPUS_PATIENCE) if on_gpu else None
    yield
    barrier()  # process 0 may still score or write, and NCCL's communicators have to be ended by all of them together
    distributed.destroy_process_group()


def own_rows(size: int, offset: int = 0) -> slice:
    """The rows of `size` that this process takes now; they start at `offset` of a batch that is dealt out row by row.

    Raises:
        UserError: some process, or some part of its rows, would have none.
    """
    shares = world_size() * parts()
    if size < shares:
        by = " of ".join([*([f"{parts()} parts"] if parts() > 1 else []), f"{world_size()} processes"])
        raise UserError(
            f"{size} images of a batch can't be shared by {by}: raise batch_size in the spec's training section, or a "
            "small source's share."
        )
    return slice((rank() * parts() + _part - offset) % shares, size, shares)


def own_share(size: int) -> float:
    """The part of a batch of `size` rows that `own_rows` is now. Raises: UserError: as there."""
    return len(range(size)[own_rows(size)]) / size


def all_reduce_sum(tensors: "Sequence[Tensor]") -> None:
    """Replace float32 tensors, which all processes have in the same order, by their sums over the processes."""
    if world_size() == 1:
        return
    import torch
    from torch import distributed

    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    with _losing_others():
        distributed.all_reduce(flat, group=_gpus)
    for tensor, summed in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(summed.view_as(tensor))


def all_reduce_max(*numbers: int) -> tuple[int, ...]:
    """The largest of each of these numbers over the processes. GPUs are not waited for."""
    if world_size() == 1:
        return numbers
    import torch
    from torch import distributed

    largest = torch.tensor(numbers, dtype=torch.int64)
    with _losing_others():
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
    return tuple(largest.tolist())


def barrier() -> None:
    """Go on when all processes are here."""
    all_reduce_max(0)


def distributed_map(jobs: Sequence[Job], work: Callable[[Job], Result]) -> Iterator[Result]:
    """The results of all jobs, in order, for process 0; each process does its share, and the others get no results."""
    if world_size() == 1:
        yield from map(work, jobs)
        return
    from torch import distributed

    for first in range(0, len(jobs), world_size()):
        at_once = jobs[first : first + world_size()]
        mine = work(at_once[rank()]) if rank() < len(at_once) else None
        results: list[Any] | None = [None] * world_size() if is_main() else None
        with _losing_others():
            distributed.gather_object(mine, results)
        yield from (results or [])[: len(at_once)]


def drawn_ahead(jobs: Sequence[Job], draw: Callable[[Job], Result]) -> Iterator[Result]:
    """What this process needs for its share of `distributed_map`, job by job: the next one is drawn on another thread.

    So a GPU that works on one batch doesn't wait for the numbers of the next.
    """
    own = jobs[rank() :: world_size()]
    with ThreadPoolExecutor(1) as thread:
        coming = [thread.submit(draw, job) for job in own[:1]]
        for at in range(len(own)):
            drawn = coming.pop().result()
            coming += [thread.submit(draw, job) for job in own[at + 1 : at + 2]]
            yield drawn


@contextmanager
def _losing_others() -> Iterator[None]:
    """Raises: UserError: another process is gone; what it said is what matters."""
    try:
        yield
    except RuntimeError as error:
        if "out of memory" in str(error).lower():
            raise
        reason = str(error).splitlines()[0][:200]
        raise UserError(
            f"process {rank()} of {world_size()} lost contact with its peers ({reason}): "
            "see the first process that failed."
        ) from error
