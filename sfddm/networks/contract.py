"""What a network's numbers mean, and on which levels its sampler stops. Nothing here needs torch."""

from pathlib import Path
from typing import Any

from attrs import asdict, evolve, frozen

from sfddm.diffusion.levels import Schedule
from sfddm.diffusion.prediction import Output
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.spacing import IndexSetError, resolve
from sfddm.errors import UserError
from sfddm.networks.layout import CONTRACT
from sfddm.spec.fields import Level, Levels
from sfddm.spec.index_set import IndexSet, UniformAngle
from sfddm.spec.parse import read_stored


@frozen(kw_only=True)
class Contract:
    """What a network's numbers mean; stored with its weights.

    `index_levels` is empty for a network that is told the teacher's noise level (level t is timestep t - 1 of
    diffusers), and holds phi_1..phi_T' for one that is told its own index k - 1. A network of `two_times` is also told
    the level where its jump should land (level s as s - 1 too).
    """

    timesteps: Levels
    noise_schedule: Schedule
    prediction: Output
    index_levels: tuple[Level, ...] = ()
    two_times: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "index_levels": list(self.index_levels)}


def read_contract(folder: Path) -> Contract:
    """What the numbers of the network in `folder` mean.

    Raises:
        UserError: the file is missing or damaged.
    """
    return read_stored(folder / CONTRACT, Contract)


def on_index_set(sampler: Sampler, contract: Contract, asked: IndexSet | int) -> Sampler:
    """The same sampler on another index set, or with so many steps: its own if it has as many, else evenly in angle.

    Raises:
        UserError: no valid index set for the student's noise schedule, or the student is told its own index.
    """
    if asked == len(sampler.levels):
        return sampler
    index_set = UniformAngle(kind="uniform-angle", steps=asked) if isinstance(asked, int) else asked
    try:
        levels = resolve(index_set, contract.noise_schedule, contract.timesteps)
    except IndexSetError as error:
        raise UserError(f"{error.field}: {error}.") from None
    if levels == sampler.levels:
        return sampler
    if contract.index_levels:
        raise UserError(
            f"this student is told its own index, so it knows its {len(sampler.levels)} levels alone: leave steps and "
            "index set out, or take a student with `time_input: level` or an any-step one."
        )
    return evolve(sampler, levels=levels)
