"""What the environment decides: device, threads and where scratch files lie. Never a number in a result."""

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfddm.errors import UserError

if TYPE_CHECKING:
    import torch


def calm_threads() -> None:
    """Let OpenMP threads spin for microseconds before they sleep; has to run before torch is imported.

    Threads that spin for long make every step many times slower as soon as another process runs; threads that never
    spin lose almost half of the second core to waking up.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def device() -> "torch.device":
    """The device that `SFDDM_DEVICE` (auto, cpu or cuda; auto by default) names.

    Raises:
        UserError: another word, or cuda where there is none.
    """
    import torch

    choice = os.environ.get("SFDDM_DEVICE", "auto")
    if choice not in ("auto", "cpu", "cuda"):
        raise UserError(f"SFDDM_DEVICE is {choice!r}: expected auto, cpu or cuda.")
    if choice == "cuda" and not torch.cuda.is_available():
        raise UserError("SFDDM_DEVICE is cuda, but torch finds no CUDA device: set it to auto or cpu.")
    return torch.device("cuda" if choice != "cpu" and torch.cuda.is_available() else "cpu")


def machine() -> dict[str, Any]:
    """What decides the last bits of what is computed here; equal on machines of one kind."""
    import torch

    from sfddm.processes import count

    where = device()
    cuda = where.type == "cuda"
    return {
        "device": where.type,
        "processor": torch.cuda.get_device_name(where) if cuda else torch.backends.cpu.get_cpu_capability(),
        "architecture": platform.machine(),
        "threads": torch.get_num_threads(),
        "processes": count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def scratch() -> Path:
    """Where caches, locks and the curves of running trainings lie; git ignores it and DVC knows nothing of it.

    In the real repository also where DVC runs a stage in a temporary copy of it.
    """
    return Path(os.environ.get("SFDDM_SCRATCH") or Path(os.environ.get("DVC_ROOT", "")) / "scratch")
