"""Peak memory of the tensors of a computation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_tensor_bytes(compute: Callable[[], object]) -> int:
    """Peak bytes of the tensors that `compute` makes, without gradients.

    Tensors that were there before aren't counted, nor what libraries use within an operation.
    """
    alive = _Alive()
    with torch.no_grad(), alive:
        compute()
    return alive.most


class _Alive(TorchDispatchMode):
    """Adds up the memory of results that are still referred to, after each operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0
        self.known: dict[int, tuple[StorageWeakRef, int]] = {}
        """The storages that were seen, by their addresses, and their bytes; 0 for one that no operation has made."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.known = {at: seen for at, seen in self.known.items() if not seen[0].expired()}  # type: ignore[no-untyped-call]
        self._see((args, kwargs), made=False)
        result = operation(*args, **(kwargs or {}))
        self._see(result, made=True)
        self.most = max(self.most, sum(size for _, size in self.known.values()))
        return result

    def _see(self, tensors: Any, made: bool) -> None:
        for storage in (each.untyped_storage() for each in tree_leaves(tensors) if isinstance(each, Tensor)):
            seen = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
            self.known.setdefault(storage._cdata, (seen, storage.nbytes() if made else 0))
