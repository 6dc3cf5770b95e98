"""The description of a sampler, as it is stored beside a student."""

from typing import Any, Literal

from attrs import asdict, frozen

Deterministic = Literal["ddim", "dpm-solver", "angle-2m"]
"""Solvers that add no noise, so that each noise leads to one image; see `sfddm.diffusion.solvers`."""
Solver = Literal["ddim", "dpm-solver", "angle-2m", "ancestral", "consistency"]
"""consistency: jump to the image and add fresh noise up to the next level (Song et al. 2023, algorithm 1)."""


@frozen(kw_only=True)
class Sampler:
    """How images are drawn: the solver, the levels phi_1 < ... < phi_T' where it stops, and whether it clips."""

    solver: Solver
    levels: tuple[int, ...]
    clip_sample: bool
    """Clip the predicted images to [-1, 1] on the way."""

    @property
    def nfe(self) -> int:
        """Network evaluations an image."""
        return len(self.levels)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "levels": list(self.levels)}
