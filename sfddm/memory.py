"""The most memory that this process has held. Measured, so never the same twice."""

import resource


def peak_memory_mb(device: str) -> float:
    """MiB of tensors on a `cuda` device; on any other the process's largest resident size, its libraries included."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
