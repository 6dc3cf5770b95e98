"""What a network's output means, and how each meaning converts to the others.

With x = alpha x_0 + sigma noise and v = alpha noise - sigma x_0 (Salimans and Ho 2022, appendix D).
"""

from torch import Tensor

from sfddm.spec.teacher import Prediction


def to_sample(kind: Prediction, output: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The image x_0 that an output [B, ...] at state x [B, ...] stands for."""
    match kind:
        case "sample":
            return output
        case "v":
            return alpha * x - sigma * output
        case "epsilon":
            return (x - sigma * output) / alpha


def to_v(kind: Prediction, output: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The v that an output [B, ...] at state x [B, ...] stands for: well conditioned at every level."""
    match kind:
        case "sample":
            return (alpha * x - output) / sigma
        case "v":
            return output
        case "epsilon":
            return (output - sigma * x) / alpha


def training_target(kind: Prediction, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What the network should put out at alpha x_0 + sigma noise; all tensors [B, ...]."""
    match kind:
        case "sample":
            return x0
        case "v":
            return alpha * noise - sigma * x0
        case "epsilon":
            return noise
