"""Methods that train nothing: the teacher, or another student, under another sampler."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from diffusers import UNet2DModel

from sfddm.diffusion.sampler import Sampler
from sfddm.methods.job import Distilled, Job, distill
from sfddm.networks import storage
from sfddm.networks.contract import Contract
from sfddm.networks.layout import write_sampler
from sfddm.spec.index_set import Explicit
from sfddm.spec.students import Free, Method, Resampled
from tests.gaussian import gaussian_job
from tests.parts import untrained_teacher

EXACT = Contract(timesteps=64, noise_schedule="cosine", prediction="v")
FILES = ("config.json", "denoiser.json", "diffusion_pytorch_model.safetensors")
NOTHING = {"search": 0, "cache": 0, "training": 0, "folds": 0, "total": 0}


def written(made: Distilled, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    made.write(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def teachers(tmp_path: Path) -> Job:
    """The job of a student of a stored teacher, on levels 8 and 64, unclipped."""
    return gaussian_job(tmp_path, Free(kind="free", solver="ddim"), (8, 64), EXACT)


@pytest.mark.parametrize(
    "method",
    [
        Free(kind="free", solver="ddim"),
        Free(kind="free", solver="dpm-solver"),
        Free(kind="free", solver="angle-2m"),
        Free(kind="free", solver="ancestral"),
    ],
)
@pytest.mark.parametrize("clip", [False, True])
def test_a_free_sampler_is_the_teachers_files_and_a_name(
    tmp_path: Path, teachers: Job, method: Any, clip: bool
) -> None:
    made_of = evolve(teachers.student, method=method, clip_sample=clip)
    made = distill(evolve(teachers, student=made_of))
    assert made.sampler == Sampler(solver=method.solver, levels=(8, 64), clip_sample=clip)
    assert made.cost == NOTHING and made.curve is None
    searched = evolve(made_of, index_set=Explicit(kind="explicit", levels=(8, 64), search=500))
    assert distill(evolve(teachers, student=searched)).cost == {**NOTHING, "search": 500, "total": 500}
    assert written(made, tmp_path / "made") == {name: (tmp_path / "teacher" / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("kind", ["free", "resampled"])
def test_another_average_of_the_weights_is_copied_as_the_rows_own(tmp_path: Path, teachers: Job, kind: str) -> None:
    parent = tmp_path / "teacher"
    (parent / "diffusion_pytorch_model.short.safetensors").write_bytes(b"the other average")
    if kind == "resampled":
        write_sampler(parent, Sampler(solver="ddim", levels=(8, 64), clip_sample=False))
        (parent / "cost.json").write_text(json.dumps(NOTHING))
        method: Method = Resampled(kind="resampled", student="parent", average="short")
    else:
        method = Free(kind="free", solver="ddim", average="short")
    found = written(distill(evolve(teachers, student=evolve(teachers.student, method=method))), tmp_path / "made")
    assert sorted(found) == sorted(FILES)
    assert found["diffusion_pytorch_model.safetensors"] == b"the other average"
    assert found["config.json"] == (parent / "config.json").read_bytes()


def test_another_average_is_stored_as_a_variant_that_diffusers_reads(tmp_path: Path) -> None:
    kept, other = untrained_teacher(), untrained_teacher()
    for parameter in other.parameters():
        parameter.data += 1
    storage.write(tmp_path, kept, {"short": other})
    for variant, wanted in ((None, kept), ("short", other)):
        found = UNet2DModel.from_pretrained(tmp_path, variant=variant, use_safetensors=True).state_dict()
        expected = wanted.network.state_dict()
        assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("clip", [False, True])
def test_a_resampled_student_is_its_parent_on_other_levels(tmp_path: Path, teachers: Job, clip: bool) -> None:
    """With the parent's solver and cost, and neither its levels nor its clipping."""
    parent, cost = tmp_path / "teacher", {"search": 0, "cache": 1, "training": 2, "folds": 3, "total": 6}
    write_sampler(parent, Sampler(solver="consistency", levels=(16, 32, 64), clip_sample=not clip))
    (parent / "cost.json").write_text(json.dumps(cost))
    student = evolve(teachers.student, method=Resampled(kind="resampled", student="parent"), clip_sample=clip)
    made = distill(evolve(teachers, student=student))
    assert made.sampler == Sampler(solver="consistency", levels=(8, 64), clip_sample=clip)
    assert made.cost == cost
    searched = evolve(student, index_set=Explicit(kind="explicit", levels=(8, 64), search=500))
    assert distill(evolve(teachers, student=searched)).cost == {**cost, "search": 500, "total": 506}
    assert written(made, tmp_path / "made") == {name: (parent / name).read_bytes() for name in FILES}
