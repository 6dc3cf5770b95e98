"""What a network's numbers mean, and on which levels its sampler stops. Nothing here needs torch."""

from pathlib import Path
from typing import Any

from attrs import asdict, evolve, frozen

from sfddm.diffusion.prediction import Output
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.spacing import IndexSetError, resolve
from sfddm.errors import UserError
from sfddm.networks.layout import CONTRACT
from sfddm.spec.fields import Level, Levels, Natural
from sfddm.spec.index_set import IndexSet, UniformAngle
from sfddm.spec.parse import read_stored
from sfddm.spec.teacher import AnySchedule, Teacher


@frozen(kw_only=True)
class Contract:
    """What a network's numbers mean; stored with its weights.

    `index_levels` is empty for a network that is told the teacher's noise level (level t is timestep t - 1 of
    diffusers), and holds phi_1..phi_T' for one that is told its own index k - 1. A network of `two_times` is also told
    the level where its jump should land, as it is told its own, and one of `classes` the class of each image. Under the
    prediction `edm`, levels are told by their noise (`sfddm.networks.denoiser.time_input`).
    """

    timesteps: Levels
    noise_schedule: AnySchedule
    prediction: Output
    index_levels: tuple[Level, ...] = ()
    two_times: bool = False
    classes: Natural = 0

    def require_class(self, label: int | None) -> None:
        """Raises: UserError: the network is told no such class."""
        if label is not None and not 0 <= label < self.classes:
            known = f"0 to {self.classes - 1}" if self.classes else "none"
            raise UserError(f"there is no class {label}: the network is told {known}.")

    def to_json(self) -> dict[str, Any]:
        """Plain data, without classes where there are none."""
        content = {**asdict(self), "index_levels": list(self.index_levels)}
        return {name: value for name, value in content.items() if name != "classes" or value}


def contract_of(teacher: Teacher) -> Contract:
    """What the numbers of a described teacher's network mean."""
    return Contract(
        timesteps=teacher.timesteps,
        noise_schedule=teacher.noise_schedule,
        prediction=teacher.prediction,
        classes=teacher.classes,
    )


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
