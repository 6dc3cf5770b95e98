"""The description of a sampler, as it is stored with a student. Nothing here needs torch."""

from typing import Any

from attrs import asdict, frozen

from sfddm.diffusion.solvers import SOLVERS, Solver


@frozen(kw_only=True)
class Sampler:
    """How images are drawn: the solver, the levels phi_1 < ... < phi_T' where it stops, and whether it clips."""

    solver: Solver
    levels: tuple[int, ...]
    clip_sample: bool
    """Clip the predicted images to [-1, 1] on the way."""

    @property
    def nfe(self) -> int:
        """Network evaluations per image."""
        return SOLVERS[self.solver].evaluations * (len(self.levels) - 1) + 1

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "levels": list(self.levels)}
