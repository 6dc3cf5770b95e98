"""Exported students, in a process that has never imported this library: the same noise gives the same image."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor

from sfddm.cli import main
from sfddm.diffusion.sampler import Sampler
from sfddm.diffusion.sampling import sample
from sfddm.errors import UserError
from sfddm.export import export as module
from sfddm.export.export import ABOUT, TOLERANCE, export
from sfddm.networks import storage
from sfddm.networks.denoiser import LUCIDRAINS, Contract, Denoiser, LucidrainsUNet
from sfddm.networks.layout import write_sampler
from sfddm.networks.student import first_student
from sfddm.spec.start import FromTeacher
from tests.parts import untrained_teacher

CPU = torch.device("cpu")
FORMATS = ("diffusers", "torch-export", "onnx")
LEVELS = (7, 20, 45, 64)
DDIM = Sampler(solver="ddim", levels=LEVELS, clip_sample=True)
BATCHES = (1, 5, 70)
"""Sizes of batches that a program takes. 64 and more are what diffusers treats apart, 2 is what it is traced with."""
STRANGER = """
import sys
import numpy as np

form, folder = sys.argv[1:3]
for name in sys.argv[3:]:
    with np.load(f"{name}.npz") as given:
        noise, step_noise = given["noise"], given["step_noise"]
    inputs = [noise, step_noise] if step_noise.size else [noise]
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(f"{folder}/student.onnx", providers=["CPUExecutionProvider"])
        images = session.run(None, dict(zip(("noise", "step_noise"), inputs)))[0]
    else:
        import torch

        inputs = [torch.from_numpy(each) for each in inputs]
        if form == "torch-export":
            images = torch.export.load(f"{folder}/student.pt2").module()(*inputs).numpy()
        else:
            from diffusers import DiffusionPipeline

            pipeline = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
            given = dict(zip(("noise", "step_noise"), inputs))
            images = pipeline(**given, output_type="pt").images.numpy()
            assert pipeline(batch_size=2).images[0].size == (8, 8)
    np.save(f"{name}.npy", images)
assert not [name for name in sys.modules if name.partition(".")[0] in ("sfddm", "stages")]
"""


def student(prediction: str = "v", **contract: Any) -> Denoiser:
    """A network with random weights under a contract."""
    teacher = untrained_teacher("epsilon" if prediction == "epsilon-sample" else prediction)
    made = first_student(teacher, FromTeacher(kind="teacher", prediction="same" if prediction != "epsilon-sample" else
                                              prediction), 0, **contract)  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return made.eval().requires_grad_(False)


CASES: dict[str, tuple[Denoiser, Sampler]] = {
    "ddim": (student(), DDIM),
    "one step": (student(), evolve(DDIM, levels=(64,))),
    "two steps of the teacher's own kind": (student("epsilon"), evolve(DDIM, levels=(30, 50))),
    "unclipped": (student("sample"), evolve(DDIM, clip_sample=False)),
    "two outputs": (student("epsilon-sample"), DDIM),
    "its own index": (student(index_levels=LEVELS), DDIM),
    "any step": (student(two_times=True), DDIM),
    "dpm-solver": (student(), evolve(DDIM, solver="dpm-solver")),
    "angle-2m": (student(), evolve(DDIM, solver="angle-2m")),
    "two steps of angle-2m": (student(), evolve(DDIM, solver="angle-2m", levels=(20, 64))),
    "one step of angle-2m": (student(), evolve(DDIM, solver="angle-2m", levels=(64,))),
    "ancestral": (student(), evolve(DDIM, solver="ancestral")),
    "consistency": (student(), evolve(DDIM, solver="consistency")),
    "one step of consistency": (student(), evolve(DDIM, solver="consistency", levels=(64,))),
}  # fmt: skip


def stored(folder: Path, denoiser: Denoiser, sampler: Sampler) -> Path:
    folder.mkdir(parents=True)
    storage.write(folder, denoiser)
    write_sampler(folder, sampler)
    return folder


def noises(sampler: Sampler, batch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch)
    steps = (sampler.nfe - 1) * (sampler.solver in ("ancestral", "consistency"))
    return torch.randn(batch, 1, 8, 8, generator=generator), torch.randn(steps, batch, 1, 8, 8, generator=generator)


def stranger(form: str, folder: Path, names: list[Path]) -> None:
    """Draw images in a process that can't import this library."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder.parent / "hf")}
    command = [sys.executable, "-I", "-c", STRANGER, form, str(folder), *map(str, names)]
    done = subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("case", CASES)
def test_the_same_noise_gives_the_same_image_elsewhere(case: str, form: str, tmp_path: Path) -> None:
    denoiser, sampler = CASES[case]
    written = export(stored(tmp_path / "student", denoiser, sampler), sampler, tmp_path / "out", form)
    assert written.difference <= TOLERANCE
    names, wanted = [], []
    for batch in BATCHES:
        noise, step_noise = noises(sampler, batch)
        names.append(tmp_path / f"batch-{batch}")
        np.savez(names[-1].with_suffix(".npz"), noise=noise.numpy(), step_noise=step_noise.numpy())
        wanted.append(sample(denoiser, noise, sampler, iter(step_noise)).numpy())
    stranger(form, tmp_path / "out", names)
    for name, images in zip(names, wanted, strict=True):
        assert np.abs(np.load(name.with_suffix(".npy")) - images).max() <= TOLERANCE
        assert np.abs(images).std() > 0.01, "images differ from each other"


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_of_this_machine_is_written(form: str, tmp_path: Path) -> None:
    export(stored(tmp_path / "student", *CASES["angle-2m"]), CASES["angle-2m"][1], tmp_path / "out", form)
    content = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    words = (str(tmp_path), str(Path(__file__).parents[1]), sys.prefix, str(Path.home()))
    assert not [word for word in words if word != "/" and word.encode() in content]


def test_a_program_does_not_grow_with_its_steps(tmp_path: Path) -> None:
    folder = stored(tmp_path / "student", *CASES["ddim"])
    few, many = (
        export(folder, evolve(DDIM, levels=tuple(range(64 // steps, 65, 64 // steps))), tmp_path / str(steps),
               "torch-export").size for steps in (4, 64)
    )  # fmt: skip
    assert many < few * 1.05


def test_what_makes_other_images_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stored(tmp_path / "student", *CASES["ddim"])
    other = evolve(DDIM, levels=(7, 20, 46, 64))
    monkeypatch.setattr(module, "describe", lambda contract, _: describe(contract, other))
    with pytest.raises(UserError, match="makes other images than the student"):
        export(folder, DDIM, tmp_path / "out", "diffusers")
    assert {path.name for path in tmp_path.iterdir()} == {"student"}


describe = module.describe


def test_a_network_of_another_library_goes_where_it_can(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = {"library": LUCIDRAINS, "sample_size": [8, 8], "in_channels": 1, "out_channels": 1, "layers_per_block": 2,
              "block_out_channels": [8, 8, 16], "dim": 8, "full_attn": [False, True], "attn_heads": [2, 2],
              "attn_dim_head": [4, 4]}  # fmt: skip
    contract = Contract(timesteps=64, noise_schedule="cosine", prediction="v")
    denoiser = Denoiser(LucidrainsUNet(**config), contract).eval().requires_grad_(False)
    folder = stored(tmp_path / "student", denoiser, DDIM)
    with pytest.raises(UserError, match="take torch-export or onnx"):
        export(folder, DDIM, tmp_path / "out", "diffusers")
    for form in ("torch-export", "onnx"):
        assert export(folder, DDIM, tmp_path / form, form).difference <= TOLERANCE


def ends(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr("sys.argv", ["sfddm", "export", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = stored(tmp_path / "student", *CASES["any step"])
    assert ends(folder, tmp_path / "a", "--format", "diffusers", monkeypatch=monkeypatch) == 0
    assert "4 network evaluations an image" in capsys.readouterr().out
    assert json.loads((tmp_path / "a" / ABOUT).read_text())["student"]["levels"] == [0, *LEVELS]
    asked = ("--format", "diffusers", "--levels", "10,64")
    assert ends(folder, tmp_path / "b", *asked, monkeypatch=monkeypatch) == 0
    assert json.loads((tmp_path / "b" / ABOUT).read_text())["student"]["levels"] == [0, 10, 64]
    capsys.readouterr()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo").write_text("kept")
    for arguments, words in (
        ((folder, tmp_path / "mine", "--format", "onnx"), "give the name of a new folder"),
        ((folder, tmp_path / "c", "--format", "diffusers", "--levels", "10,65"), "above the teacher's noisiest, 64"),
        ((folder, tmp_path / "c", "--format", "pickle"), "Invalid value for '--format'"),
    ):
        assert ends(*arguments, monkeypatch=monkeypatch) == 2
        assert words in capsys.readouterr().err
    assert (tmp_path / "mine" / "photo").read_text() == "kept" and not (tmp_path / "c").exists()


def test_onnx_without_its_libraries_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stored(tmp_path / "student", *CASES["ddim"])
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"pip install 'sfddm\[export\]'"):
        export(folder, DDIM, tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()
