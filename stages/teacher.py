"""Teacher: train the diffusion model that students are distilled from, or take over one that was trained elsewhere."""

from sfddm.data import store
from sfddm.environment import device, scratch
from sfddm.files import atomic_folder, digest_folder, write_json
from sfddm.networks import storage
from sfddm.networks.denoiser import Denoiser
from sfddm.networks.layout import SOURCE
from sfddm.paths import Paths
from sfddm.spec.experiment import Spec
from sfddm.spec.read import load_spec
from sfddm.spec.structure import unstructure
from sfddm.spec.teacher import Trained
from sfddm.spec.training import Training
from sfddm.teachers.imported import import_teacher
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import train_teacher
from stages.harness import main


def teacher(spec_name: str) -> None:
    """Write `runs/SPEC/teacher`."""
    spec = load_spec(spec_name)
    paths = Paths(spec.name)
    if isinstance(spec.teacher.source, Trained):
        name = f"{spec.name}-teacher"
        inputs = {"teacher": unstructure(spec.teacher), "data": digest_folder(paths.data)}
        checkpoints = Checkpoints(scratch() / "checkpoints" / name, inputs)
        trained = _train(spec, spec.teacher.source.training, name, checkpoints)
        with atomic_folder(paths.teacher) as folder:
            storage.write(folder, trained)
        checkpoints.remove()
    else:
        imported, source = import_teacher(spec.teacher, store.read(paths.data, "train").images, device())
        with atomic_folder(paths.teacher) as folder:
            storage.write(folder, imported)
            write_json(folder / SOURCE, source)


def _train(spec: Spec, settings: Training, name: str, checkpoints: Checkpoints) -> Denoiser:
    split = store.read(Paths(spec.name).data, "train")
    with Curve(scratch() / "curves" / f"{name}.jsonl", "teacher", settings.iterations, settings.batch_size) as curve:
        return train_teacher(spec.teacher, split, device(), curve, checkpoints)


if __name__ == "__main__":
    main(teacher, "spec")
