"""How a version is rebuilt: as on which machine, and from which weights its training started."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import Tensor

from sfddm.errors import UserError
from sfddm.methods.job import distill
from sfddm.networks import storage
from sfddm.networks.layout import WEIGHTS
from sfddm.networks.weights import read_tensors
from sfddm.registry import reproduce as module
from sfddm.registry import workspace
from sfddm.registry.version import Version
from sfddm.runtime.machine import machine
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.students import Free, Resampled, Student
from sfddm.spec.teacher import FromDiffusers, Trained
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import train_teacher
from tests.parts import CPU, METHODS, SCRATCH, STILL, of, random_split, tiny


def spec_of(student: Student) -> Spec:
    """tiny with this student alone, and one that samples it on another index set."""
    again = evolve(student, method=Resampled(kind="resampled", student="one"))
    return evolve(tiny(), students={"one": student, "again": again})


def run_of(student: str, seed: int) -> Run:
    return Run(name=f"tiny-{student}-s{seed}", spec="tiny", student=student, seed=seed, method="any")


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return set(one) == set(other) and all(torch.allclose(one[name], other[name], atol=1e-20) for name in one)


STARTS = [(name, "copy") for name in METHODS] + [("sfddm", "scratch"), ("any-step", "scratch")]


@pytest.mark.parametrize(("name", "start"), STARTS)
def test_a_training_that_moves_nothing_ends_where_the_student_is_said_to_have_started(
    tmp_path: Path, name: str, start: str
) -> None:
    method = METHODS[name]
    still = evolve(method.training, **{**STILL, "iterations": 2})
    method = evolve(method, training=still, **({"start": SCRATCH} if start == "scratch" else {}))
    job = evolve(of(tmp_path, method), seed=5)
    (tmp_path / "student").mkdir()
    distill(job).write(tmp_path / "student")
    ended = read_tensors(tmp_path / "student" / WEIGHTS)
    spec = spec_of(job.student)
    for student in ("one", "again"):
        found = module.start_weights(spec, run_of(student, 5), tmp_path / "teacher", tmp_path / "student")
        assert found is not None and same(found, ended)
    if start == "scratch":
        other = module.start_weights(spec, run_of("one", 6), tmp_path / "teacher", tmp_path / "student")
        assert other is not None and not same(other, ended)


def test_a_free_student_started_where_its_teacher_did(tmp_path: Path) -> None:
    spec = tiny()
    source = spec.teacher.source
    assert isinstance(source, Trained)
    still = evolve(spec.teacher, source=evolve(source, training=evolve(source.training, **STILL), seed=8))
    with Curve(tmp_path / "curve.jsonl", "teacher", 1, 5) as curve:
        teacher = train_teacher(still, random_split(), CPU, curve, Checkpoints(tmp_path / "checkpoints", {})).network
    storage.write(tmp_path, teacher)
    spec = evolve(spec, teacher=still)
    assert isinstance(spec.students["ddim-t4"].method, Free)
    found = module.start_weights(spec, run_of("ddim-t4", 0), tmp_path, tmp_path)
    assert found is not None and same(found, read_tensors(tmp_path / WEIGHTS))
    imported = evolve(still, source=FromDiffusers(kind="diffusers", model="some", revision="0" * 64))
    assert module.start_weights(evolve(spec, teacher=imported), run_of("ddim-t4", 0), tmp_path, tmp_path) is None


def asked(folder: Path, machine: dict[str, Any]) -> dict[str, str]:
    """The variables that a stage has that is run as on a machine."""
    (folder / "asked.py").write_text(
        "import json, os; open('out', 'w').write('\\n'.join(f'{name}={text}' for name, text in os.environ.items()))"
    )
    assert workspace.run(folder, "asked", machine=machine) == 0
    return dict(line.split("=", 1) for line in (folder / "out").read_text().splitlines() if "=" in line)


@pytest.mark.process
def test_what_a_gpu_made_is_rebuilt_on_the_cpu_where_there_is_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As this machine computes by itself: a GPU machine's threads and processes say nothing about it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("SFDDM_NPROC", raising=False)
    monkeypatch.setenv("SFDDM_DEVICE", "cpu")
    found = asked(tmp_path, {"device": "cuda", "threads": 64, "processes": 8})
    assert (found["SFDDM_DEVICE"], found["OMP_NUM_THREADS"]) == ("cpu", "1") and "SFDDM_NPROC" not in found


@pytest.mark.process
def test_what_limits_of_a_processor_made_is_rebuilt_within_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {**machine(1), "device": "cpu"}
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    found = asked(tmp_path, here)
    assert not {"ONEDNN_MAX_CPU_ISA", "MKL_CBWR"} & set(found)
    assert here["processor"] != "AVX512" or "ATEN_CPU_CAPABILITY" not in found
    found = asked(tmp_path, {**here, "processor": "DEFAULT", "ONEDNN_MAX_CPU_ISA": "AVX2"})
    assert (found["ATEN_CPU_CAPABILITY"], found["ONEDNN_MAX_CPU_ISA"]) == ("default", "AVX2")
    assert asked(tmp_path, {})["ONEDNN_MAX_CPU_ISA"] == "SSE41", "as this machine computes by itself"


@pytest.mark.parametrize(
    ("wanted", "here", "variable"),
    [("AVX2", "AVX512", "avx2"), ("AVX2", "AVX2", "avx2"), ("DEFAULT", "AVX2", "default"), ("AVX2", "DEFAULT", None),
     ("AVX512", "AVX512", None), ("AVX512", "AVX2", None), ("SVE256", "AVX2", None), ("AVX2", "SVE256", None)],
)  # fmt: skip
def test_no_more_of_a_processor_is_used_than_there_is(
    monkeypatch: pytest.MonkeyPatch, wanted: str, here: str, variable: str | None
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: here)
    found = workspace._environment({"device": "cpu", "threads": 1, "processes": 1, "processor": wanted})
    assert found.get("ATEN_CPU_CAPABILITY") == variable


def test_what_gpus_made_is_rebuilt_on_as_many_as_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(workspace, "available", lambda on_gpu: 2 if on_gpu else 16)
    made = {"device": "cuda", "threads": 64, "processes": 8, "deterministic": False}
    found = workspace._environment(made)
    assert found == {"SFDDM_DEVICE": "cuda", "SFDDM_NPROC": "2"}
    assert workspace._environment({**made, "deterministic": True}) == {**found, "SFDDM_DETERMINISTIC": "1"}
    found = workspace._environment({"device": "cpu", "threads": 3, "processes": 8})
    assert found == {"SFDDM_DEVICE": "cpu", "SFDDM_NPROC": "8", "OMP_NUM_THREADS": "3"}


def test_each_stage_is_run_as_on_the_machine_that_ran_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = {what: {"device": "cpu", "threads": threads, "processes": 1}
                for threads, what in enumerate(("teacher", "student", "evaluation"), start=1)}  # fmt: skip
    version = Version(
        uri="", student=tmp_path, spec={}, lineage={}, metrics={}, origin={"machines": machines}, content_key=""
    )
    ran: dict[str, dict[str, Any]] = {}

    def run(folder: Path, *command: str, machine: dict[str, Any]) -> int:
        ran.update(dict.fromkeys(command[2:], machine))
        return int(any(name.startswith("evaluate") for name in command))

    monkeypatch.setattr(module, "run", run)
    monkeypatch.setattr(module, "data_rebuilt", lambda *_: True)
    spec = tiny()
    with pytest.raises(UserError, match="dvc repro evaluate@tiny-ours-t4-s0"):
        list(module._rebuilt(version, spec, spec.run("ours-t4", "0"), tmp_path))
    assert ran == {
        **dict.fromkeys(
            ("scorer@tiny-convolutional", "scorer@tiny-pixels", "teacher@tiny", "reference@tiny"), machines["teacher"]
        ),
        "distill@tiny-ours-t4-s0": machines["student"],
        "evaluate@tiny-ours-t4-s0": machines["evaluation"],
    }
