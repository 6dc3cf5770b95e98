"""What a network's output means, and how each meaning converts to the others.

With x = alpha x_0 + sigma noise and v = alpha noise - sigma x_0 (Salimans and Ho 2022, appendix D).
Nothing here needs torch when it is imported: specs share its words.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Prediction = Literal["epsilon", "v", "sample"]
"""What a teacher puts out: the noise, v = alpha * noise - sigma * image (Salimans and Ho 2022), or the image."""
Output = Literal["epsilon", "v", "sample", "epsilon-sample"]
"""epsilon-sample: noise and image side by side, [B, 2C, ...], merged as v = alpha * noise - sigma * image."""


def to_sample(kind: Output, output: "Tensor", x: "Tensor", alpha: "Tensor", sigma: "Tensor") -> "Tensor":
    """The image x_0 predicted by an output [B, ...] at state x [B, ...]."""
    match kind:
        case "sample":
            return output
        case "epsilon":
            return (x - sigma * output) / alpha
        case "v" | "epsilon-sample":
            return alpha * x - sigma * to_v(kind, output, x, alpha, sigma)


def to_v(kind: Output, output: "Tensor", x: "Tensor", alpha: "Tensor", sigma: "Tensor") -> "Tensor":
    """The v predicted by an output [B, ...] at state x [B, ...]: well conditioned at every level."""
    match kind:
        case "sample":
            return (alpha * x - output) / sigma
        case "v":
            return output
        case "epsilon":
            return (output - sigma * x) / alpha
        case "epsilon-sample":
            noise, image = output.chunk(2, dim=1)
            return alpha * noise - sigma * image


def training_target(kind: Prediction, x0: "Tensor", noise: "Tensor", alpha: "Tensor", sigma: "Tensor") -> "Tensor":
    """What the network should put out at alpha x_0 + sigma noise; all tensors [B, ...]."""
    match kind:
        case "sample":
            return x0
        case "v":
            return alpha * noise - sigma * x0
        case "epsilon":
            return noise
