"""A student's sampler on another index set than its own, for students that can be asked for one."""

from attrs import evolve

from sfddm.diffusion.index_set import IndexSetError, resolve
from sfddm.diffusion.sampler import Sampler
from sfddm.errors import UserError
from sfddm.networks.denoiser import Contract
from sfddm.spec.index_set import IndexSet


def on_index_set(sampler: Sampler, contract: Contract, index_set: IndexSet) -> Sampler:
    """The same sampler on `index_set`.

    Raises:
        UserError: no valid index set for the student's noise schedule, or the student is told its own index.
    """
    try:
        levels = resolve(index_set, contract.noise_schedule, contract.timesteps)
    except IndexSetError as error:
        raise UserError(f"{error.field}: {error}.") from None
    if contract.index_levels:
        raise UserError(
            f"this student is told its own index, so it knows its {sampler.nfe} levels alone: leave steps and index "
            "set out, or take a student with `time_input: level` or an any-step one."
        )
    return evolve(sampler, levels=levels)
