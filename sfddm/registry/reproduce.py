"""Rebuilding a version in a worktree of its commit, and comparing the result."""

from collections.abc import Iterator, Mapping
from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path
from shutil import copytree
from typing import Any

import torch
from torch import Tensor

from sfddm.errors import UserError
from sfddm.networks import storage
from sfddm.networks.contract import read_contract
from sfddm.networks.denoiser import build, unet_config
from sfddm.networks.layout import WEIGHTS
from sfddm.networks.student import first_student
from sfddm.pipeline.git import worktree
from sfddm.pipeline.lock import REQUIREMENTS, Lineage, lineage, other_code, outputs, stages_of
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.rows import resolved
from sfddm.registry.packages import packages_item
from sfddm.registry.verdict import (
    Item,
    Tolerance,
    machine_item,
    metrics_item,
    output_items,
    tolerance,
    weights_item,
    widest,
)
from sfddm.registry.version import Version, commit_of, read_version
from sfddm.registry.workspace import data_rebuilt, fetch, run
from sfddm.runtime.files import digest_file
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.parse import read_mapping
from sfddm.spec.read import load_spec
from sfddm.spec.students import Free, Resampled
from sfddm.spec.teacher import Trained


def reproduce(uri: str, quick: bool) -> Iterator[Item]:
    """Rebuild a registered version, and yield a verdict for each thing that it can be compared in.

    `quick` trains nothing: the version's own files are checked, and its student is evaluated again.

    Raises:
        UserError: no such version; it is tampered with, or of another schema; its commit, or an object of DVC is
            missing; or a stage failed. MLflow is as it was.
    """
    from sfddm.tracking.versions import download

    version = read_version(download(uri))
    yield Item(name="artifacts", verdict="as registered", passed=True)
    with worktree(commit_of(version)) as folder:
        with chdir(folder):
            spec = load_spec(version.name)
            found = spec.run(*version.run)
            items = list(_checkout_items(version, spec, found))
        yield from items
        if all(item.passed for item in items):
            yield from (_evaluated if quick else _rebuilt)(version, spec, found, folder)


def write_verdict(uri: str, quick: bool, items: list[Item]) -> str:
    """Put the verdict into a tag of the version, and return it."""
    from sfddm.tracking.versions import set_version_tag

    done = "evaluated again" if quick else "rebuilt"
    word = f"{done} {'with the same result' if all(item.passed for item in items) else 'with ANOTHER result'}"
    lines = [f"{datetime.now(UTC).isoformat(timespec='seconds')} {word}"]
    lines += [f"{item.name}: {item.verdict}" for item in items]
    set_version_tag(uri, "sfddm.evaluated_again" if quick else "sfddm.reproduced", "\n".join(lines))
    return word


def _checkout_items(version: Version, spec: Spec, found: Run) -> Iterator[Item]:
    """Whether the commit, which is the working directory, has the spec and the code of the version."""
    same = resolved(spec, found) == version.spec
    yield Item(name="spec", verdict="equal" if same else "the commit has another one", passed=same)
    other = other_code(_entries(version, spec, found))
    yield Item(name="code", verdict=f"another one: {', '.join(other)}" if other else "equal", passed=not other)
    # Another lock file is not a fault: the packages count that are installed.
    now = digest_file(REQUIREMENTS) if REQUIREMENTS.exists() else ""
    pinned = "equal" if now == version.origin["requirements_lock"] else "another"
    yield Item(name="requirements.lock", verdict=pinned, passed=True)
    yield packages_item(REQUIREMENTS)


def _entries(version: Version, spec: Spec, found: Run) -> Lineage:
    """What the version depends on: the commit's dvc.lock if that has the version's bytes, else what is stored with it.

    Code may change without changing a byte: then a version can be registered before the change and promoted after it.
    """
    try:
        here = lineage(spec, found)
    except UserError:
        return version.lineage
    paths, run = Paths(spec.name), (found.student, found.seed)
    made = [paths.student(*run).as_posix(), (paths.result(*run) / "metrics.json").as_posix()]
    before, now = outputs(version.lineage), outputs(here)
    return here if all(before[path] == now[path] for path in made) else version.lineage


def _evaluated(version: Version, spec: Spec, found: Run, folder: Path) -> Iterator[Item]:
    """The version's own student, evaluated again with the teacher, scorer and reference that DVC has."""
    paths = Paths(spec.name)
    fetch(folder, version.lineage, _stages_by_machine(spec, found)["teacher"])
    copytree(version.student, folder / paths.student(found.student, found.seed))
    _stage(folder, ["stages.evaluate", spec.name, found.student, str(found.seed)], _machine(version, "evaluation"))
    yield from _metrics(version, found, folder, None)


def _rebuilt(version: Version, spec: Spec, found: Run, folder: Path) -> Iterator[Item]:
    """Everything made anew: data, scorer, teacher, reference, student, metrics."""
    paths = Paths(spec.name)
    made = data_rebuilt(folder, version.lineage, f"data@{spec.name}")
    for what, stages in _stages_by_machine(spec, found).items():
        _stage(folder, ["dvc", "repro", *stages], _machine(version, what))
    with chdir(folder):
        after = lineage(spec, found)
        taken = {
            "teacher": read_mapping(paths.teacher_timing)["machine"],
            "student": read_mapping(paths.timing(spec.trained(found.student), found.seed))["machine"],
        }
    for what, machine in taken.items():
        yield machine_item(f"machine of the {what}", _machine(version, what), machine)
    of_teacher, of_student = (tolerance(_machine(version, what), machine) for what, machine in taken.items())
    yield from output_items(version.lineage, after, {paths.data.as_posix(): "data" if made else "data (from DVC)"})
    yield from _others(version.lineage, after, spec, of_teacher)
    allowed = widest([of_teacher, of_student])
    student = paths.student(found.student, found.seed)
    start = start_weights(spec, found, folder / paths.teacher, version.student)
    yield weights_item(version.student / WEIGHTS, folder / student / WEIGHTS, start, allowed)
    yield from _metrics(version, found, folder, allowed)


def start_weights(spec: Spec, run: Run, teacher: Path, student: Path) -> Mapping[str, Tensor] | None:
    """The weights before the first iteration, with the names that the student's have.

    A student that is trained starts from the teacher's weights, or from fresh ones. A free one is the teacher itself,
    whose training started from fresh weights; None where that was not trained here. `teacher` and `student` are
    folders.
    """
    method, source = spec.students[spec.trained(run.student)].method, spec.teacher.source
    assert not isinstance(method, Resampled), "a student that resamples another is never resampled"
    contract = read_contract(student)
    if not isinstance(method, Free):
        start = storage.load(teacher, torch.device("cpu"))
        first = first_student(start, method.start, run.seed, contract.index_levels, contract.two_times)
    elif isinstance(source, Trained):
        config = unet_config(source.network, spec.data.shape, spec.teacher.classes)
        first = build(config, contract, source.seed)
    else:
        return None
    return dict(first.network.state_dict())


def _stages_by_machine(spec: Spec, found: Run) -> dict[str, list[str]]:
    """The run's stages, in order, by the machine that ran them: that of the teacher, the student or its metrics.

    Scorers and the reference are made with the teacher; their own machine is not noted.
    """
    kinds = {"teacher": ("scorer@", "teacher@", "reference@"), "student": ("distill@",), "evaluation": ("evaluate@",)}
    names = stages_of(spec, found)
    return {what: [name for name in names if name.startswith(kind)] for what, kind in kinds.items()}


def _others(before: Lineage, after: Lineage, spec: Spec, allowed: Tolerance | None) -> Iterator[Item]:
    """What a student is made and evaluated with, as bytes; where others are allowed, its weights and metrics judge."""
    paths = Paths(spec.name)
    scorers = {paths.scorer(name): f"scorer {name}" for name in spec.evaluation.scorers}
    names = {**scorers, paths.teacher: "teacher", paths.reference: "reference"}
    for item in output_items(before, after, {path.as_posix(): name for path, name in names.items()}):
        other = "other bytes, judged by weights and metrics"
        yield item if item.passed or allowed is None else Item(name=item.name, verdict=other, passed=True)


def _metrics(version: Version, found: Run, folder: Path, made: Tolerance | None) -> Iterator[Item]:
    """The new metrics against the registered ones; `made`: what the machines that made the weights allow."""
    result = folder / Paths(version.name).result(found.student, found.seed)
    noted, here = _machine(version, "evaluation"), read_mapping(result / "timing.json")["machine"]
    yield machine_item("machine of the evaluation", noted, here)
    allowed = widest([made, tolerance(noted, here)])
    yield metrics_item(version.metrics, read_mapping(result / "metrics.json"), allowed)


def _machine(version: Version, what: str) -> dict[str, Any]:
    """Where the teacher, the student or its evaluation was made."""
    return dict(version.origin["machines"][what])


def _stage(folder: Path, command: list[str], machine: dict[str, Any]) -> None:
    """Run a module in the worktree as on that machine, as far as this one can."""
    if code := run(folder, *command, machine=machine):
        raise UserError(
            f"`python -m {' '.join(command)}` ended with exit code {code} in a checkout of the version's commit; its "
            "output above says why. MLflow is as it was."
        )
