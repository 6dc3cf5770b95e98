"""The solvers by name, and what a sampler must know of each before it draws. Nothing here needs torch."""

from typing import Literal, NamedTuple

Teaching = Literal["ddim", "dpm-solver", "angle-2m"]
"""Solvers that students learn from: without noise, of one evaluation and of at most one prediction before.
Trajectories, teachers' steps (`sfddm.methods.teaching`) and their costs rely on it."""
Free = Literal["ddim", "dpm-solver", "unipc", "angle-2m", "ancestral"]
"""Solvers under which the teacher itself is a row of the comparison."""
Solver = Literal["ddim", "dpm-solver", "unipc", "angle-2m", "ancestral", "consistency"]
"""Every solver; `sfddm.diffusion.steps` has a function for each."""


class Traits(NamedTuple):
    """What sets a solver apart."""

    evaluations: int = 1
    """Network evaluations per step; the step to clean data always takes one, as no network is trained there."""
    memory: int = 0
    """Predictions of the steps before that a step looks at."""
    stochastic: bool = False
    """Whether noise is added on the way."""
    last_step: bool = False
    """Whether the step to clean data is a step of the solver, and not just the predicted image."""


SOLVERS: dict[Solver, Traits] = {
    "ddim": Traits(),
    "dpm-solver": Traits(memory=1),
    "unipc": Traits(memory=2),
    "angle-2m": Traits(memory=1, last_step=True),
    "ancestral": Traits(stochastic=True),
    "consistency": Traits(stochastic=True),
}
