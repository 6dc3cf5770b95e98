"""What a training carries from one iteration to the next, as named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

OPTIMIZER = "optimizer"


def pack(modules: Mapping[str, nn.Module], optimizer: Optimizer | None = None) -> dict[str, Tensor]:
    """Weights and buffers as MODULE.NAME, and the optimizer's moments and counts as optimizer.PARAMETER.NAME."""
    tensors = {f"{part}.{name}": tensor for part, of in modules.items() for name, tensor in of.state_dict().items()}
    moments = optimizer.state_dict()["state"] if optimizer else {}
    return tensors | {f"{OPTIMIZER}.{at}.{name}": tensor for at, of in moments.items() for name, tensor in of.items()}


def unpack(tensors: Mapping[str, Tensor], modules: Mapping[str, nn.Module], optimizer: Optimizer | None = None) -> None:
    """The inverse of `pack`, into the same modules and an optimizer of the same parameters."""
    for part, module in modules.items():
        module.load_state_dict(_of(part, tensors))
    if optimizer:
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _of(OPTIMIZER, tensors).items():
            at, _, name = key.partition(".")
            state.setdefault(int(at), {})[name] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        for parameter, moments in optimizer.state.items():
            for name, moment in moments.items():
                if moment.shape == parameter.shape:  # fused updates go through both as they lie in memory
                    moments[name] = torch.empty_like(parameter).copy_(moment)


def _of(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
