"""Reference: the teacher's own images from the evaluation noises, which students should reproduce."""

from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.spacing import resolve
from sfddm.evaluation.reference import write_reference
from sfddm.pipeline.paths import Paths
from sfddm.runtime.machine import device
from sfddm.spec.read import load_spec
from stages.harness import main


def reference(spec_name: str) -> None:
    """Write `runs/SPEC/reference`."""
    spec = load_spec(spec_name)
    paths, wanted = Paths(spec.name), spec.evaluation
    sampler = Sampler(
        solver=wanted.reference.solver,
        levels=resolve(wanted.reference.index_set, spec.teacher.noise_schedule, spec.teacher.timesteps),
        clip_sample=wanted.reference.clip_sample,
    )
    write_reference(
        paths.reference, paths.teacher, sampler, wanted.noise_seed, wanted.samples, wanted.batch_size, device()
    )


if __name__ == "__main__":
    main(reference, "spec", shares=True)
