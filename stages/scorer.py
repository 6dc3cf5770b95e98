"""Scorer: the feature extractor that distances are taken in, and the real images in its features."""

from pathlib import Path

from sfddm.data import store
from sfddm.data.source import root
from sfddm.evaluation.real import Given, read_statistics, write_real
from sfddm.evaluation.scorers.classifier import Network, train_scorer, write_scorer
from sfddm.evaluation.scorers.install import install
from sfddm.evaluation.scorers.scorer import load_extractor
from sfddm.pipeline.params import code
from sfddm.pipeline.paths import Paths
from sfddm.runtime.files import atomic_folder, digest_folder
from sfddm.runtime.machine import device, scratch
from sfddm.runtime.processes import is_main
from sfddm.spec.evaluation import Classifier, GivenStatistics, Scorer
from sfddm.spec.parse import unstructure
from sfddm.spec.read import load_spec
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from stages.harness import main


def scorer(spec_name: str) -> None:
    """Write `runs/SPEC/scorer`."""
    spec = load_spec(spec_name)
    paths, settings = Paths(spec.name), spec.evaluation.scorer
    images = store.read(paths.data, "train").images
    name = f"{spec.name}-scorer"
    inputs = {"scorer": unstructure(settings), "data": digest_folder(paths.data), "code": code("scorer")}
    checkpoints = Checkpoints(scratch() / "checkpoints" / name, inputs)
    network = _train(settings, paths.data, name, checkpoints) if isinstance(settings, Classifier) else None
    if not is_main():
        return
    with atomic_folder(paths.scorer) as folder:
        if isinstance(settings, Classifier) and network is not None:
            write_scorer(folder, settings, network, store.read(paths.data, "test"), device())
        elif not isinstance(settings, Classifier):
            install(settings, spec.data.shape, folder)
        extractor = load_extractor(folder, device())
        given = _given(settings, extractor.features)
        write_real(folder, extractor, images, spec.evaluation.samples, isinstance(settings, Classifier), given)
    checkpoints.remove()


def _train(settings: Classifier, data: Path, name: str, checkpoints: Checkpoints) -> Network:
    path = scratch() / "curves" / f"{name}.jsonl"
    with Curve(path, "scorer", settings.training.iterations, settings.training.batch_size) as curve:
        return train_scorer(settings, store.read(data, "train"), device(), curve, checkpoints)


def _given(settings: Scorer, features: int) -> Given | None:
    if isinstance(settings, Classifier) or not isinstance(settings.statistics, GivenStatistics):
        return None
    wanted = settings.statistics
    return read_statistics(root() / wanted.file, wanted.sha256, wanted.images, features)


if __name__ == "__main__":
    main(scorer, "spec", shares=True)
