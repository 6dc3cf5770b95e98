"""The machine: device, threads, compiler, and where scratch files are."""

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfddm.errors import UserError
from sfddm.runtime.memory import peak_memory_mb

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


DETERMINISTIC = "SFDDM_DETERMINISTIC"


def choose_kernels() -> None:
    """Where SFDDM_DETERMINISTIC is 1, have torch take kernels alone that repeat the last digit; before the first one.

    Raises:
        UserError: it is neither 0 nor 1.
    """
    choice = os.environ.get(DETERMINISTIC, "0")
    if choice not in ("0", "1"):
        raise UserError(f"{DETERMINISTIC} is {choice!r}: expected 0 or 1.")
    if choice == "1":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # takes time


@contextmanager
def ieee() -> Iterator[None]:
    """Within the block a GPU's convolutions take fp32 as it is; otherwise they round their factors to TF32."""
    import torch

    cudnn = torch.backends.cudnn
    before, cudnn.allow_tf32 = cudnn.allow_tf32, False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before


def require_bf16(where: "torch.device") -> None:
    """Raises: UserError: the GPU has no bfloat16, and would be slower than in fp32."""
    import torch

    if where.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(
            f"precision: {torch.cuda.get_device_name(where)} has no bfloat16 of its own, and emulating it is slower "
            "than fp32: set precision: fp32 in the spec's training section."
        )


CPUINFO = Path("/proc/cpuinfo")
"""Linux's own description of the processor."""
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16", "sve", "sve2", "bf16")
"""Sets of instructions by which libraries choose how to add and multiply floating-point numbers."""
PARTS = "SFDDM_PARTS"
"""The variable that says in how many parts, one after another, a process goes through its rows of a batch."""
VARIABLES = ("ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "MKL_CBWR", "NVIDIA_TF32_OVERRIDE", PARTS)
"""Environment variables that change sums too. torch's own, ATEN_CPU_CAPABILITY, shows in the processor."""
PACKAGES = ("torch", "diffusers", "numpy")
"""Whose versions decide what is computed."""


def machine(processes: int) -> dict[str, Any]:
    """What decides the bytes that so many processes compute here, apart from code, spec and data.

    Equal on machines of one kind. Keys of checkpoints and of trajectories contain it, and it is noted with everything
    that is made, so that `sfddm reproduce` knows what to expect.
    """
    import torch

    where = device()
    cuda = where.type == "cuda"
    return {
        "device": where.type,
        "processor": torch.cuda.get_device_name(where) if cuda else torch.backends.cpu.get_cpu_capability(),
        "instructions": _instructions(),
        "architecture": platform.machine(),
        "threads": 0 if cuda else torch.get_num_threads(),
        "processes": processes,
        **{name: version(name) for name in PACKAGES},
        # From 3.12 on sum() compensates for rounding; patch releases change no arithmetic.
        "python": ".".join(platform.python_version_tuple()[:2]),
        "cudnn": torch.backends.cudnn.version() if cuda else None,  # type: ignore[no-untyped-call]
        **_switches(),
        **{name: os.environ.get(name, "") for name in VARIABLES},
    }


def _instructions() -> str:
    """The processor's maker and those of INSTRUCTIONS that it has; empty where Linux doesn't say."""
    text = CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.exists() else ""
    maker = re.findall(r"^(?:vendor_id|CPU implementer)\s*: (\S+)$", text, re.MULTILINE)
    flags = re.findall(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)
    has = flags[0].split() if flags else []
    return " ".join([*maker[:1], *(name for name in INSTRUCTIONS if name in has)])


def _switches() -> dict[str, Any]:
    """torch's switches that change how numbers are added and multiplied."""
    import torch

    cudnn = torch.backends.cudnn
    return {
        "matmul_precision": torch.get_float32_matmul_precision(),
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_tf32": cudnn.allow_tf32,
        "cudnn_enabled": cudnn.enabled,
        "cudnn_benchmark": cudnn.benchmark,
        "cudnn_deterministic": cudnn.deterministic,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "onednn": torch.backends.mkldnn.enabled,
    }


def usage(seconds: float, used: str, processes: int) -> dict[str, Any]:
    """What a training took on a device (`cpu` or `cuda`), and the machine that it ran on."""
    return {
        "seconds": seconds,
        "peak_memory_mb": peak_memory_mb(used),
        "device": used,
        "machine": machine(processes),
    }


def scratch() -> Path:
    """The folder of caches, locks and curves of running trainings; git ignores it and DVC does not know it.

    In the real repository also where DVC runs a stage in a temporary copy of it.
    """
    return Path(os.environ.get("SFDDM_SCRATCH") or Path(os.environ.get("DVC_ROOT", "")) / "scratch")


RAISED_BY = ("torch._dynamo.", "torch._inductor.")


@contextmanager
def compile_errors() -> Iterator[None]:
    """Turn what torch.compile raises within the block into an error that a user can act on.

    Raises:
        UserError: a network could not be compiled.
    """
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(RAISED_BY):
            raise
        raise UserError(
            f"torch.compile failed: {_reason(error)}\nIt needs a C++ compiler (g++, or what CXX names), on a "
            "GPU also triton, and Python's headers. Install them, or set compile: false in the spec's training section."
        ) from error


def _reason(error: Exception) -> str:
    """The first line that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
