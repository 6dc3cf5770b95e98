"""Precision and recall of generated images: quality and coverage apart, where one distance mixes them."""

import torch
from torch import Tensor

NEIGHBOUR = 3
"""k: a set's region is the union of balls around its features that reach to each one's k-th nearest neighbour."""
CHUNK = 1000
"""Rows of the matrix of distances that are held at a time."""
ROUNDING = 1e-13
"""Of a squared distance, as a share of the features' squared sizes."""


def precision_recall(generated: Tensor, real: Tensor) -> tuple[float, float]:
    """Share of generated features [N, D] in the real ones' region, and of real features [M, D] in the generated ones'
    (Kynkaanniemi et al. 2019, equations 1 and 2, k = 3).

    Both depend on N and M: only figures of equal numbers compare.
    """
    generated, real = generated.double(), real.double()
    return _share_inside(generated, real), _share_inside(real, generated)


def _share_inside(points: Tensor, region: Tensor) -> float:
    radii = torch.cat([_squares(chunk, region).kthvalue(NEIGHBOUR + 1).values for chunk in torch.split(region, CHUNK)])
    inside = [(_squares(chunk, region) <= radii).any(1) for chunk in torch.split(points, CHUNK)]
    return float(torch.cat(inside).double().mean())


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances [N, M]."""
    sizes = a.square().sum(1)[:, None] + b.square().sum(1)
    squares = torch.addmm(sizes, a, b.T, alpha=-2)
    # Of equal features this leaves rounding; a set of equal ones has a region without extent.
    return squares.masked_fill_(squares < ROUNDING * sizes, 0)
