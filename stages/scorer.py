"""Scorer: the feature extractor that distances are taken in, from the data alone."""

from sfddm.data import store
from sfddm.environment import device, scratch
from sfddm.files import atomic_folder, digest_folder
from sfddm.paths import Paths
from sfddm.spec.read import load_spec
from sfddm.spec.structure import unstructure
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.scorer import train_scorer
from stages.harness import main


def scorer(spec_name: str) -> None:
    """Write `runs/SPEC/scorer`."""
    spec = load_spec(spec_name)
    paths, settings = Paths(spec.name), spec.evaluation.scorer
    train_split, test_split = store.read(paths.data, "train"), store.read(paths.data, "test")
    name = f"{spec.name}-scorer"
    inputs = {"scorer": unstructure(settings), "data": digest_folder(paths.data)}
    checkpoints = Checkpoints(scratch() / "checkpoints" / name, inputs)
    path = scratch() / "curves" / f"{name}.jsonl"
    with (
        atomic_folder(paths.scorer) as folder,
        Curve(path, "scorer", settings.training.iterations, settings.training.batch_size) as curve,
    ):
        train_scorer(settings, train_split, test_split, device(), curve, checkpoints, folder)
    checkpoints.remove()


if __name__ == "__main__":
    main(scorer, "spec")
