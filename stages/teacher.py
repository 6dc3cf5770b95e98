"""Teacher: train the diffusion model that students are distilled from."""

from sfddm.data import store
from sfddm.environment import device, scratch
from sfddm.files import atomic_folder, digest_folder
from sfddm.networks import storage
from sfddm.paths import Paths
from sfddm.processes import leads
from sfddm.spec.read import load_spec
from sfddm.spec.structure import unstructure
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import train_teacher
from stages.harness import main


def teacher(spec_name: str) -> None:
    """Write `runs/SPEC/teacher`."""
    spec = load_spec(spec_name)
    paths, settings = Paths(spec.name), spec.teacher.source.training
    images = store.read(paths.data, "train").images
    name = f"{spec.name}-teacher"
    inputs = {"teacher": unstructure(spec.teacher), "data": digest_folder(paths.data)}
    checkpoints = Checkpoints(scratch() / "checkpoints" / name, inputs)
    with Curve(scratch() / "curves" / f"{name}.jsonl", "teacher", settings.iterations, settings.batch_size) as curve:
        trained = train_teacher(spec.teacher, images, device(), curve, checkpoints)
    if leads():
        with atomic_folder(paths.teacher) as folder:
            storage.write(folder, trained)
        checkpoints.remove()


if __name__ == "__main__":
    main(teacher, "spec", shares=True)
