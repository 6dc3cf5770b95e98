"""What a network's output means, and how each meaning converts to the others.

With x = alpha x_0 + sigma noise and v = alpha noise - sigma x_0 (Salimans and Ho 2022, appendix D). EDM's F belongs to
x / alpha, whose noise is sigma / alpha (Karras et al. 2022, table 1). With q^2 = sigma^2 + (alpha sigma_data)^2, the
variance of x, its network sees x / q, and v = (1 - sigma_data^2) alpha sigma x / q^2 - sigma_data F / q.
Nothing here needs torch when it is imported: specs share its words.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Prediction = Literal["epsilon", "v", "sample", "edm"]
"""What a teacher puts out: the noise, v = alpha * noise - sigma * image (Salimans and Ho 2022), the image, or F of
EDM's preconditioning, which also scales the network's input and tells it the logarithm of the noise level (Karras et
al. 2022, table 1, with sigma_data = 0.5)."""
Output = Literal["epsilon", "v", "sample", "edm", "epsilon-sample"]
"""epsilon-sample: noise and image side by side, [B, 2C, ...], merged as v = alpha * noise - sigma * image."""
SIGMA_DATA = 0.5
"""The standard deviation that EDM takes pixels in [-1, 1] to have."""


def to_input(kind: Output, x: "Tensor", alpha: "Tensor", sigma: "Tensor") -> "Tensor":
    """What a network is shown of a state x [B, ...]: the state itself, but for EDM's."""
    return x / _deviation(alpha, sigma) if kind == "edm" else x


def to_sample(kind: Output, output: "Tensor", x: "Tensor", alpha: "Tensor", sigma: "Tensor") -> "Tensor":
    """The image x_0 predicted by an output [B, ...] at state x [B, ...]."""
    match kind:
        case "sample":
            return output
        case "epsilon":
            return (x - sigma * output) / alpha
        case "v" | "edm" | "epsilon-sample":
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
        case "edm":
            q = _deviation(alpha, sigma)
            return (1 - SIGMA_DATA**2) * alpha * sigma / q**2 * x - SIGMA_DATA / q * output
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
        case "edm":
            q, v = _deviation(alpha, sigma), alpha * noise - sigma * x0
            x = alpha * x0 + sigma * noise
            return ((1 - SIGMA_DATA**2) * alpha * sigma / q * x - q * v) / SIGMA_DATA


def _deviation(alpha: "Tensor", sigma: "Tensor") -> "Tensor":
    """q, the standard deviation of states."""
    return (sigma**2 + (SIGMA_DATA * alpha) ** 2) ** 0.5
