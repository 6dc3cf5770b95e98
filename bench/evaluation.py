"""How long the evaluation of one student takes, imports included: `python -m bench.evaluation [SPEC [STUDENT]]`.

Runs the evaluate stage of a spec (digits, ours-t4 by default) in a folder of its own. Networks have random weights and
the teacher's images are noise, which changes no time; the number of images, noises and steps are the spec's.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

import numpy as np

from sfddm.runtime.machine import calm_threads

calm_threads()  # before torch is imported

import torch  # noqa: E402

from bench.untrained import write_untrained  # noqa: E402
from sfddm.data.prepare import prepare  # noqa: E402
from sfddm.data.store import has, read  # noqa: E402
from sfddm.diffusion.sampler import Sampler  # noqa: E402
from sfddm.evaluation.interpolation import PAIRS, STEPS  # noqa: E402
from sfddm.evaluation.real import Splits, write_real  # noqa: E402
from sfddm.evaluation.scorers.extractor import load_extractor, unseen_by  # noqa: E402
from sfddm.networks import storage  # noqa: E402
from sfddm.networks.contract import Contract  # noqa: E402
from sfddm.networks.denoiser import build, unet_config  # noqa: E402
from sfddm.networks.layout import COST, write_sampler  # noqa: E402
from sfddm.pipeline.params import sync  # noqa: E402
from sfddm.pipeline.paths import Paths  # noqa: E402
from sfddm.runtime.files import write_json  # noqa: E402
from sfddm.runtime.kinds import import_kind  # noqa: E402
from sfddm.spec.experiment import Spec  # noqa: E402
from sfddm.spec.parts import Cost  # noqa: E402
from sfddm.spec.read import load_spec  # noqa: E402
from sfddm.spec.teacher import Trained  # noqa: E402


def main(name: str, student: str) -> None:
    """Print the stage's wall time, CPU time and largest resident memory."""
    root, spec = Path.cwd(), load_spec(name)
    with TemporaryDirectory() as folder:
        copytree(root / "specs", Path(folder) / "specs")
        os.chdir(folder)
        sync()
        _prepare(spec, student)
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "stages.evaluate", name, student, str(spec.students[student].seeds[0])]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(root)})
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        os.chdir(root)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{name} {student}, {spec.evaluation.samples} images, {len(spec.levels(student))} steps, "
        f"{torch.get_num_threads()} threads: {wall:.1f} s, {cpu:.1f} s of CPU time, "
        f"at most {after.ru_maxrss / 1024:.0f} MiB resident"
    )


def _prepare(spec: Spec, student: str) -> None:
    paths, seed = Paths(spec.name), spec.students[student].seeds[0]
    scorers = [paths.scorer(scorer) for scorer in spec.evaluation.scorers]
    for folder in (paths.data, *scorers, paths.teacher, paths.reference, paths.student(student, seed)):
        folder.mkdir(parents=True)
    prepare(spec.data, paths.data)
    for scorer in spec.evaluation.scorers:
        _scorer(spec, scorer, paths)
    teacher = spec.teacher
    contract = Contract(
        timesteps=teacher.timesteps, noise_schedule=teacher.noise_schedule, prediction=teacher.prediction
    )
    assert isinstance(teacher.source, Trained), "a spec whose network is described"
    network = build(unet_config(teacher.source.network, spec.data.shape), contract, 0)
    own = paths.student(student, seed)
    for folder in (paths.teacher, own):
        storage.write(folder, network)
    write_sampler(own, Sampler(solver="ddim", levels=spec.levels(student), clip_sample=True))
    write_json(own / COST, Cost().to_json())
    shape, random = spec.data.shape, np.random.default_rng(0)
    for file, count in (("images.npy", (spec.evaluation.samples,)), ("strips.npy", (PAIRS, STEPS))):
        np.save(paths.reference / file, random.integers(0, 256, (*count, *shape)).astype(np.uint8))
    sampler = Sampler(solver="ddim", levels=(teacher.timesteps,), clip_sample=True)
    write_json(paths.reference / "reference.json", {"sampler": sampler.to_json(), "weights": "none"})


def _scorer(spec: Spec, name: str, paths: Paths) -> None:
    settings, folder = spec.scorer(name), paths.scorer(name)
    write_untrained(folder, settings, spec.data.shape)
    train = read(paths.data, "train").images
    test = read(paths.data, "test").images if has(paths.data, "test") else None
    splits = Splits(train=train, test=test, unseen=unseen_by(settings, len(train)))
    extractor = load_extractor(folder, torch.device("cpu"))
    standardise = import_kind("scorer", settings.kind).STANDARDISE
    write_real(folder, extractor, splits, spec.evaluation.samples, standardise, None)


if __name__ == "__main__":
    given = sys.argv[1:3]
    main(*given, *("digits", "ours-t4")[len(given) :])
